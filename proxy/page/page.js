// Connects the page: images come from the pad, files, the clipboard, the camera and the samples. Each one is classified.

import { offerCamera } from "./camera.js";
import { showCode } from "./code.js";
import { Pad } from "./pad.js";
import { Requests } from "./requests.js";
import { areShown, showClasses, showEmpty, showError, showResult } from "./result.js";
import { ServiceError, classify, servedModel } from "./service.js";
import { withArticle } from "./words.js";

const LARGE = 2 ** 20; // bytes; larger images are reduced before they are sent
const REDUCED = 1600; // pixels; longer side of a reduced image
const LATER = 1000; // ms until the model is asked for again
const find = (id) => document.getElementById(id);
const pad = new Pad(find("pad"));
const requests = new Requests(send, succeed, fail);
let key = sessionStorage.getItem("key") ?? "";
let retry = null;
let latest = null; // result for what is shown
let opened = 0; // how many images were opened or drawings begun

async function send(signal) {
  clearTimeout(retry);
  return classify(await pad.blob(), pad.name, key, signal);
}

// The classes are those of the answer, even if the page does not know this model yet, or knows the one before a rollout.
function succeed(result) {
  latest = result;
  const names = namesIn(result);
  if (!areShown(names)) {
    showClasses({ input: "image", class_names: names, symbols: [] });
    showModel();
  }
  showResult(result);
}

async function showModel() {
  const model = await servedModel();
  if (!model || (latest && String(namesIn(latest)) !== String(model.class_names))) return setTimeout(showModel, LATER);
  find("brand").textContent = model.name;
  document.title = `Draw ${withArticle(model.input)}`;
  for (const place of document.querySelectorAll(".input-name")) place.textContent = withArticle(model.input);
  find("samples-section").hidden = find("credit").hidden = model.input !== "digit";
  showClasses(model);
  if (latest) showResult(latest);
  else showEmpty();
}

const namesIn = ({ predictions }) => predictions.all.map((each) => each.class_name);

function fail(error) {
  const known = error instanceof ServiceError;
  if (!known) console.error(error);
  showError(known ? error : new ServiceError("Something went wrong on this page. Reload it."));
  if (error.code === "unauthorized") find("key-form").hidden = false;
  if (known && error.retryAfter !== null) retry = setTimeout(() => requests.extended(), error.retryAfter);
}

function refresh() {
  find("undo").disabled = !pad.undoable;
  find("clear").disabled = find("save").disabled = pad.empty;
  find("hint").hidden = !pad.empty;
  find("undisplayed").hidden = !pad.undisplayed;
  find("undisplayed").firstChild.textContent = pad.name;
  showCode(pad, Boolean(key));
}

pad.addEventListener("begun", () => {
  opened++;
  refresh();
});
pad.addEventListener("extended", () => requests.extended());
pad.addEventListener("replaced", () => {
  clearTimeout(retry);
  refresh();
  requests.replaced({ empty: pad.empty });
  latest = null;
  if (pad.empty) showEmpty();
});

// Show `file`, a Blob or a promise of one, unless something else was drawn or opened in the meantime.
async function open(file, name, sample = null) {
  const own = ++opened;
  let blob = await file;
  const whole = await createImageBitmap(blob).catch(() => null); // null: not an image that this browser can decode
  const bitmap = whole && reduced(whole);
  whole?.close(); // the photos of a phone take 50 MB each
  if (bitmap && blob.size > LARGE) blob = await encoded(bitmap);
  if (own !== opened) return;
  pad.show({ blob, name, sample, bitmap });
  find("frame").scrollIntoView({ block: "nearest" }); // on a phone the samples are far below
}

async function openSample(url, name) {
  try {
    await open(fetch(url).then((response) => response.blob()), name, url);
  } catch {
    showError(new ServiceError("The service cannot be reached. Try again."));
  }
}

function reduced(bitmap) {
  const scale = Math.min(1, REDUCED / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(bitmap.width * scale), Math.ceil(bitmap.height * scale)];
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// As JPEG, or as PNG if anything is transparent, which JPEG would make black.
function encoded(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let opaque = true;
  for (let alpha = 3; opaque && alpha < data.length; alpha += 4) opaque = data[alpha] === 255;
  return new Promise((resolve) => canvas.toBlob(resolve, opaque ? "image/jpeg" : "image/png", 0.92));
}

find("undo").addEventListener("click", () => pad.undo());
find("clear").addEventListener("click", () => pad.clear());
find("choose").addEventListener("click", () => find("file").click());
find("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) open(file, file.name);
  target.value = ""; // the same file can be chosen again
});
find("save").addEventListener("click", async () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await pad.blob());
  link.download = pad.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.target.matches("input")) return;
  const action = { z: event.shiftKey ? "redo" : "undo", y: "redo" }[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  pad[action]();
});
addEventListener("paste", ({ clipboardData }) => {
  const [file] = clipboardData.files;
  if (file) open(file, file.name);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  find("frame").classList.add("dragover");
});
addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || find("frame").classList.remove("dragover"));
addEventListener("drop", (event) => {
  event.preventDefault();
  find("frame").classList.remove("dragover");
  const [file] = event.dataTransfer.files;
  if (file) open(file, file.name);
});
offerCamera((blob) => {
  if (blob) open(blob, "camera.png");
  else showError(new ServiceError("The camera is not available. Allow this page to use it, or close the program that uses it."));
});

for (let digit = 0; digit < 10; digit++) {
  const url = new URL(`samples/${digit}.png`, document.baseURI).href;
  const button = document.createElement("button");
  button.append(Object.assign(new Image(28, 28), { src: url, alt: `Sample of ${digit}` }));
  button.addEventListener("click", () => openSample(url, `${digit}.png`));
  find("samples").append(button);
}

find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = find("key").value.replace(/[^ -~]/g, "").trim(); // keys are ASCII, and what is pasted may hide more
  sessionStorage.setItem("key", key);
  find("key-form").hidden = true;
  refresh();
  requests.replaced({ empty: pad.empty });
});

showEmpty();
showModel();
refresh();
