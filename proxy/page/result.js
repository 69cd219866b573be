// Shows a result (class, sentence, bars, model input, warnings) or an error.

import { withArticle } from "./words.js";

const WARNINGS = {
  blank: "The image is blank.",
  cluttered: "The image has too many lines and shapes to find a digit.",
  cropped: "The digit touches the edge of the image. Part of it may be missing.",
  inverted: "The digit is dark on a light background. It was inverted to light on dark, as in MNIST.",
  low_contrast: "The contrast is low. An image with more contrast gives a more reliable result.",
  several_shapes: "The image has more than one shape. The model classifies a single digit.",
  too_much_ink: "The strokes cover more area than those of any digit.",
  unlike_a_digit: "The shape is unlike this digit in the training data.",
  unfamiliar: "The image is unlike the training data.",
  low_confidence: "The model is unsure between several digits.",
};
const NO_RESULT = "no result yet";
const find = (id) => document.getElementById(id);
let model = { input: "image", class_names: [], symbols: [] };
let bars = [];
let announcing = null;

// Shows the classes of a model, each by its symbol where it has one.
export function showClasses(of) {
  model = of;
  find("bars").classList.toggle("named", !model.symbols.length);
  bars = model.class_names.map(bar);
  find("bars").replaceChildren(...bars);
}

export const areShown = (names) => String(names) === String(model.class_names);

function bar(name, label) {
  const item = document.createElement("li");
  item.innerHTML = `<span class="percent"></span><span class="track"><i></i></span><b></b>`;
  item.lastChild.textContent = model.symbols[label] ?? name;
  item.setAttribute("aria-label", `${name}: ${NO_RESULT}`);
  return item;
}

export function showResult({ predictions, details, milliseconds }) {
  const [best, second] = [...predictions.all].sort((a, b) => b.probability - a.probability);
  for (const one of predictions.all) showBar(one, one.label === best.label);
  const verdict = details?.verdict ?? (best.probability >= 0.9 ? "digit" : "uncertain");
  const [numeral, sentence, aside] = describe(verdict, best, second);
  showText(numeral, sentence, aside, verdict !== "digit");
  showInput(details?.image_seen);
  showWarnings(details?.warnings ?? []);
  find("latency").textContent = `Answered in ${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
  if (details?.model) showModel(details.model);
  find("error").hidden = true;
  announce(`${sentence} ${aside}`);
}

// There is no image, or no result for it.
export function showEmpty(sentence = "Waiting for your image", aside = "The bars change as you draw.") {
  clearTimeout(announcing);
  find("live").textContent = "";
  for (const [label, name] of model.class_names.entries()) {
    bars[label].className = "";
    bars[label].style.setProperty("--p", 0);
    bars[label].setAttribute("aria-label", `${name}: ${NO_RESULT}`);
  }
  showText("", sentence, aside, false);
  showInput(null);
  showWarnings([]);
  find("latency").textContent = "\u00a0";
  find("error").hidden = true;
}

export function showError({ message, code, id }) {
  showEmpty("No result", "");
  const error = find("error");
  error.textContent = message;
  if (id) {
    const small = document.createElement("small");
    small.textContent = `${code}, request ${id}`;
    error.append(small);
  }
  error.hidden = false;
}

function describe(verdict, best, second) {
  const sure = `${percent(best.probability).replace(">", "More than")} sure`;
  const [is, symbol] = [withArticle(best.class_name), model.symbols[best.label] ?? ""];
  if (verdict === "not_a_digit") return ["?", `This does not look like ${withArticle(model.input)}.`, `If it is one, it is most likely ${is}.`];
  if (verdict === "uncertain")
    return [symbol, `This may be ${is}.`, `${sure}. It could also be ${withArticle(second.class_name)} (${percent(second.probability)}).`];
  return [symbol, `This is ${is}.`, `${sure}.`];
}

// Never "0 %" or "100 %": the model is never certain.
function percent(probability) {
  if (probability < 0.001) return "< 0.1 %";
  return probability > 0.999 ? "> 99.9 %" : `${rounded(probability)} %`;
}

function rounded(probability) {
  const tenths = Math.floor(1000 * probability) / 10;
  return probability < 0.1 || probability > 0.99 ? tenths.toFixed(1) : Math.round(tenths);
}

function showBar({ label, class_name: name, probability }, best) {
  const item = bars[label];
  item.style.setProperty("--p", probability);
  item.className = `${best ? "best" : ""} ${probability >= 0.005 ? "some" : ""}`;
  item.firstChild.textContent = `${rounded(probability)} %`;
  item.setAttribute("aria-label", `${name}: ${percent(probability)}`);
}

function showText(numeral, sentence, aside, unsure) {
  find("numeral").textContent = numeral;
  find("numeral").classList.toggle("unsure", unsure);
  find("sentence").textContent = sentence;
  find("aside").textContent = aside;
}

function showInput(url) {
  const image = find("input");
  image.hidden = !url;
  image.parentElement.classList.toggle("present", Boolean(url));
  if (url) image.src = url;
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

// Screen readers announce the result once the drawing pauses, not after each stroke.
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (find("live").textContent = text), 700);
}
