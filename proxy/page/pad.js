// The drawing area. It shows a state {strokes, image}. Finished states are kept unchanged in a list, so undo goes one back.
// A stroke is a list of [x, y] in 0..1. An image is {blob, name, sample, bitmap}.

const WIDTH = 0.066; // of a stroke, relative to the side of the area; like MNIST's strokes
const SENT = 280; // pixels; side of the PNG that is sent, ten times the model's input
const EMPTY = { strokes: [], image: null };
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Dispatches "begun" when a stroke begins, "extended" when it grows, and "replaced" when another state is shown.
export class Pad extends EventTarget {
  #canvas;
  #states = [EMPTY];
  #at = 0;
  #pointer = null; // id of the pointer that is drawing
  #frame = null; // id of the scheduled animation frame
  #pen = null; // {at: [x, y], down} while the keyboard is used

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#up(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.#hidePen());
    new ResizeObserver(() => this.#paint()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
  }

  get empty() {
    return !this.#state.image && !this.#state.strokes.length;
  }
  get undoable() {
    return this.#at > 0;
  }
  get name() {
    return this.#state.image?.name ?? "drawing.png";
  }
  get sample() {
    return this.#state.image?.sample ?? null;
  }
  // Whether there is a file that this browser cannot display.
  get undisplayed() {
    return Boolean(this.#state.image) && !this.#state.image.bitmap;
  }
  get #state() {
    return this.#states[this.#at];
  }

  // The image to send: a file as it is, or a drawing as a PNG, light on dark as in MNIST.
  async blob() {
    if (this.#state.image) return this.#state.image.blob;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SENT;
    const context = canvas.getContext("2d");
    context.fillRect(0, 0, SENT, SENT);
    drawStrokes(context, this.#state.strokes, SENT, "#fff");
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  show(image) {
    this.#add({ strokes: [], image });
  }
  clear() {
    if (!this.empty) this.#add(EMPTY);
  }
  undo() {
    if (this.undoable) this.#show(this.#at - 1);
  }
  redo() {
    if (this.#at + 1 < this.#states.length) this.#show(this.#at + 1);
  }

  #add(state) {
    this.#states.splice(this.#at + 1, Infinity, state);
    this.#show(this.#at + 1);
  }
  #show(at) {
    this.#at = at;
    this.#pointer = null; // a stroke under way ends
    if (this.#pen) this.#pen.down = false;
    this.#emit("replaced");
  }
  #emit(type) {
    this.#paint();
    this.dispatchEvent(new Event(type));
  }

  #begin(point) {
    const over = this.#state.image;
    const strokes = [...this.#state.strokes, [point]]; // drawing on an image removes it
    this.#states.splice(this.#at + 1, Infinity, { strokes, image: null });
    this.#at += 1;
    this.#emit("begun");
    this.#emit(over ? "replaced" : "extended");
  }
  #extend(points) {
    const stroke = this.#state.strokes.at(-1);
    for (const point of points) {
      const last = stroke.at(-1);
      if (Math.hypot(point[0] - last[0], point[1] - last[1]) > 0.004) stroke.push(point);
    }
    this.#emit("extended");
  }

  #position(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }
  #down(event) {
    if (event.button !== 0 || !event.isPrimary || this.#pointer !== null) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointer = event.pointerId;
    this.#pen = null;
    this.#begin(this.#position(event));
  }
  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    this.#extend((events.length ? events : [event]).map((one) => this.#position(one)));
  }
  #up(event) {
    if (event.pointerId === this.#pointer) this.#pointer = null;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.#pointer !== null) return;
    const step = STEPS[event.key];
    if (step) this.#step(step, event.shiftKey ? 0.01 : 0.04);
    else if (event.key === " " || event.key === "Enter") this.#togglePen();
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete" || event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }
  #step([x, y], length) {
    this.#pen ??= { at: [0.5, 0.5], down: false };
    const inside = (value) => Math.min(0.97, Math.max(0.03, value));
    this.#pen.at = [inside(this.#pen.at[0] + x * length), inside(this.#pen.at[1] + y * length)];
    if (this.#pen.down) this.#extend([this.#pen.at]);
    else this.#paint();
  }
  #togglePen() {
    this.#pen ??= { at: [0.5, 0.5], down: false };
    this.#pen.down = !this.#pen.down;
    if (this.#pen.down) this.#begin(this.#pen.at);
    else this.#paint();
  }
  #hidePen() {
    this.#pen = null;
    this.#paint();
  }

  // Paints at most once in each animation frame.
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
    if (this.#state.image?.bitmap) drawBitmap(context, this.#state.image.bitmap, side);
    drawStrokes(context, this.#state.strokes, side, color);
    if (this.#pen) drawPen(context, this.#pen, side, color);
  }
}

function drawStrokes(context, strokes, side, colour) {
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
    context.lineTo(last[0] + 0.01, last[1]); // a stroke of one point is a dot
    context.stroke();
  }
}

function drawBitmap(context, bitmap, side) {
  const scale = side / Math.max(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingEnabled = scale < 3; // a small image shows its pixels
  context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
}

function drawPen(context, { at, down }, side, colour) {
  context.beginPath();
  context.arc(at[0] * side, at[1] * side, WIDTH * side * (down ? 0.75 : 0.5), 0, 2 * Math.PI);
  context.strokeStyle = colour;
  context.lineWidth = side / 200;
  context.stroke();
}
