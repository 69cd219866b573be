// The drawing area. What it shows is a state {strokes, picture}; states are never changed, only followed by new ones, so
// that undo is a step back. A stroke is a list of [x, y] in 0..1; a picture is {blob, name, bitmap}.

const WIDTH = 0.066; // of a stroke, in sides of the area; MNIST's strokes after scaling
const SENT = 280; // pixels; side of the PNG that is sent, ten for each of the model's
const EMPTY = { strokes: [], picture: null };
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Tells "begun" and "drawn" as a stroke begins and grows, "replaced" when the state is another.
export class Pad extends EventTarget {
  #canvas;
  #states = [EMPTY];
  #at = 0;
  #pointer = null; // id of the one that draws
  #frame = null; // that is to be painted
  #pen = null; // {at: [x, y], down} once the keyboard is used

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#up(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.#putAwayPen());
    new ResizeObserver(() => this.#paint()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
  }

  get empty() {
    return !this.#state.picture && !this.#state.strokes.length;
  }
  get undoable() {
    return this.#at > 0;
  }
  get name() {
    return this.#state.picture?.name ?? "digit.png";
  }
  get sample() {
    return this.#state.picture?.sample ?? null;
  }
  // Whether there is a picture whose format this browser cannot show, or no picture in the file.
  get unshown() {
    return Boolean(this.#state.picture) && !this.#state.picture.bitmap;
  }
  get #state() {
    return this.#states[this.#at];
  }

  // The picture as it is sent: a file as it came; a drawing light on dark, as MNIST's digits are.
  async blob() {
    if (this.#state.picture) return this.#state.picture.blob;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SENT;
    const context = canvas.getContext("2d");
    context.fillRect(0, 0, SENT, SENT);
    draw(context, this.#state.strokes, SENT, "#fff");
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  show(picture) {
    this.#follow({ strokes: [], picture });
  }
  clear() {
    if (!this.empty) this.#follow(EMPTY);
  }
  undo() {
    if (this.undoable) this.#go(this.#at - 1);
  }
  redo() {
    if (this.#at + 1 < this.#states.length) this.#go(this.#at + 1);
  }

  #follow(state) {
    this.#states.splice(this.#at + 1, Infinity, state);
    this.#go(this.#at + 1);
  }
  #go(at) {
    this.#at = at;
    this.#tell("replaced");
  }
  #tell(what) {
    this.#paint();
    this.dispatchEvent(new Event(what));
  }

  #begin(point) {
    const strokes = [...this.#state.strokes, [point]]; // drawing on a picture puts it away
    this.#states.splice(this.#at + 1, Infinity, { strokes, picture: null });
    this.#at += 1;
    this.#tell("begun");
    this.#tell("drawn");
  }
  #lengthen(points) {
    const stroke = this.#state.strokes.at(-1);
    for (const point of points) {
      const last = stroke.at(-1);
      if (Math.hypot(point[0] - last[0], point[1] - last[1]) > 0.004) stroke.push(point);
    }
    this.#tell("drawn");
  }

  #place(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }
  #down(event) {
    if (event.button !== 0 || !event.isPrimary || this.#pointer !== null) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointer = event.pointerId;
    this.#pen = null;
    this.#begin(this.#place(event));
  }
  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const between = event.getCoalescedEvents?.() ?? [];
    this.#lengthen((between.length ? between : [event]).map((one) => this.#place(one)));
  }
  #up(event) {
    if (event.pointerId === this.#pointer) this.#pointer = null;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.#pointer !== null) return;
    const step = STEPS[event.key];
    if (step) this.#step(step, event.shiftKey ? 0.01 : 0.04);
    else if (event.key === " " || event.key === "Enter") this.#liftOrPut();
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete" || event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }
  #step([x, y], length) {
    this.#pen ??= { at: [0.5, 0.5], down: false };
    const inside = (value) => Math.min(0.97, Math.max(0.03, value));
    this.#pen.at = [inside(this.#pen.at[0] + x * length), inside(this.#pen.at[1] + y * length)];
    if (this.#pen.down) this.#lengthen([this.#pen.at]);
    else this.#paint();
  }
  #liftOrPut() {
    this.#pen ??= { at: [0.5, 0.5], down: false };
    this.#pen.down = !this.#pen.down;
    if (this.#pen.down) this.#begin(this.#pen.at);
    else this.#paint();
  }
  #putAwayPen() {
    this.#pen = null;
    this.#paint();
  }

  // Once a frame is enough.
  #paint() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#paintNow();
    });
  }
  #paintNow() {
    const side = Math.round(this.#canvas.clientWidth * devicePixelRatio);
    if (this.#canvas.width !== side) this.#canvas.width = this.#canvas.height = side;
    const context = this.#canvas.getContext("2d");
    const { color } = getComputedStyle(this.#canvas);
    context.clearRect(0, 0, side, side);
    if (this.#state.picture?.bitmap) lay(context, this.#state.picture.bitmap, side);
    draw(context, this.#state.strokes, side, color);
    if (this.#pen) ring(context, this.#pen, side, color);
  }
}

function draw(context, strokes, side, colour) {
  context.strokeStyle = colour;
  context.lineWidth = WIDTH * side;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [x * side, y * side]);
    const last = points.at(-1);
    context.beginPath();
    context.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i++) {
      const [x, y] = points[i];
      context.quadraticCurveTo(x, y, (x + points[i + 1][0]) / 2, (y + points[i + 1][1]) / 2);
    }
    context.lineTo(last[0] + 0.01, last[1]); // a point is a dot
    context.stroke();
  }
}

function lay(context, bitmap, side) {
  const scale = side / Math.max(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingEnabled = scale < 3; // a small picture shows its pixels
  context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
}

function ring(context, { at, down }, side, colour) {
  context.beginPath();
  context.arc(at[0] * side, at[1] * side, WIDTH * side * (down ? 0.75 : 0.5), 0, 2 * Math.PI);
  context.strokeStyle = colour;
  context.lineWidth = side / 200;
  context.stroke();
}
