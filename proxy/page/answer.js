// What the service answered, shown: numeral, words, bars, the picture it saw, warnings; and what went wrong.

const NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const WARNINGS = {
  blank: "There is nothing on the picture.",
  cropped: "The digit touches the edge: a part of it may be missing.",
  inverted: "Dark ink on a light ground: turned into light on dark, as MNIST’s digits are.",
  low_contrast: "Ink and paper hardly differ: a picture with more contrast is read more surely.",
  several_shapes: "There is more than one shape on the picture: only one digit can be read.",
  too_much_ink: "There is more ink than any digit has.",
  unlike_a_digit: "The shape is unlike those of this digit.",
  unfamiliar: "The net has seen little like it.",
  low_confidence: "The net hesitates between digits.",
};
const find = (id) => document.getElementById(id);
const bars = NAMES.map(bar);
let announcing = null;

function bar(name, label) {
  const item = document.createElement("li");
  item.innerHTML = `<span class="share"></span><span class="well"><i></i></span><b>${label}</b>`;
  item.setAttribute("aria-label", `${name}: no answer yet`);
  find("bars").append(item);
  return item;
}

export function showAnswer({ predictions, details, milliseconds }) {
  const [best, second] = [...predictions.all].sort((a, b) => b.probability - a.probability);
  for (const one of predictions.all) showBar(one, one.label === best.label);
  const [numeral, sentence, aside] = words(details?.verdict ?? guess(best), best, second);
  showWords(numeral, sentence, aside, numeral !== String(best.label) || details?.verdict === "uncertain");
  showSeen(details?.image_seen);
  showWarnings(details?.warnings ?? []);
  find("latency").textContent = `Answered in ${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
  if (details?.model) showModel(details.model);
  hideTrouble();
  announce(`${sentence} ${aside}`);
}

// No picture, or no answer to it.
export function showNothing(sentence = "Waiting for your digit", aside = "The bars move while you draw.") {
  for (const [label, name] of NAMES.entries()) {
    bars[label].className = "";
    bars[label].style.setProperty("--p", 0);
    bars[label].setAttribute("aria-label", `${name}: no answer yet`);
  }
  showWords("", sentence, aside, false);
  showSeen(null);
  showWarnings([]);
  find("latency").textContent = "\u00a0";
  hideTrouble();
}

export function showTrouble({ message, code, id }) {
  showNothing("No answer", "");
  const trouble = find("trouble");
  trouble.textContent = message;
  if (id) {
    const small = document.createElement("small");
    small.textContent = `${code}, request ${id}`;
    trouble.append(small);
  }
  trouble.hidden = false;
}

function hideTrouble() {
  find("trouble").hidden = true;
}

// For a service that gives no verdict.
function guess(best) {
  return best.probability >= 0.9 ? "digit" : "uncertain";
}

function words(verdict, best, second) {
  const sure = `${percent(best.probability).replace(">", "More than")} sure`;
  if (verdict === "not_a_digit") return ["?", "This does not look like a digit.", `If it is one, then ${article(best)}.`];
  if (verdict === "uncertain")
    return [String(best.label), `Perhaps ${article(best)}.`, `${sure}; ${article(second)} is possible (${percent(second.probability)}).`];
  return [String(best.label), `This is ${article(best)}.`, `${sure}.`];
}

const article = ({ class_name: name }) => `${name === "eight" ? "an" : "a"} ${name}`;

// Never "100 %": nothing is that certain.
function percent(share) {
  if (share < 0.001) return "< 0.1 %";
  return share > 0.999 ? "> 99.9 %" : `${figure(share)} %`;
}

function figure(share) {
  const hundredths = Math.floor(1000 * share) / 10;
  return share < 0.1 || share > 0.99 ? hundredths.toFixed(1) : Math.round(hundredths);
}

function showBar({ label, class_name: name, probability }, best) {
  const item = bars[label];
  item.style.setProperty("--p", probability);
  item.className = `${best ? "best" : ""} ${probability >= 0.005 ? "some" : ""}`;
  item.firstChild.textContent = `${figure(probability)} %`;
  item.setAttribute("aria-label", `${name}: ${percent(probability)}`);
}

function showWords(numeral, sentence, aside, unsure) {
  find("numeral").textContent = numeral;
  find("numeral").classList.toggle("unsure", unsure);
  find("sentence").textContent = sentence;
  find("aside").textContent = aside;
}

function showSeen(address) {
  const image = find("seen");
  image.hidden = !address;
  image.parentElement.classList.toggle("there", Boolean(address));
  if (address) image.src = address;
}

function showWarnings(warnings) {
  const list = find("warnings");
  list.hidden = !warnings.length;
  list.replaceChildren(
    ...warnings.map((warning) => {
      const item = document.createElement("li");
      item.textContent = WARNINGS[warning] ?? `${warning.replaceAll("_", " ")}.`;
      return item;
    }),
  );
}

function showModel({ name, version, sha256 }) {
  find("model").textContent = `Model ${name}, version ${version}, weights ${sha256.slice(0, 12)}`;
}

// Read out once the drawing rests, not at each stroke.
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (find("live").textContent = text), 700);
}
