// Pictures come from the pad, files, the clipboard, the camera and the samples; each change is asked about and answered.

import { showAnswer, showNothing, showTrouble } from "./answer.js";
import { Asker } from "./asker.js";
import { offerCamera } from "./camera.js";
import { showCode } from "./code.js";
import { Pad } from "./pad.js";
import { Trouble, classify } from "./service.js";

const LARGE = 2 ** 20; // bytes; larger photographs are reduced before they are sent
const REDUCED = 1600; // pixels
const find = (id) => document.getElementById(id);
const pad = new Pad(find("pad"));
const asker = new Asker(ask, showAnswer, fail);
let key = sessionStorage.getItem("key") ?? "";
let retry = null;
let opened = 0; // counts what was opened or drawn

async function ask(signal) {
  clearTimeout(retry);
  return classify(await pad.blob(), pad.name, key, signal);
}

function fail(error) {
  if (!(error instanceof Trouble)) console.error(error);
  showTrouble(error instanceof Trouble ? error : new Trouble("Something went wrong on this page; load it again."));
  if (error.code === "unauthorized") find("key-form").hidden = false;
  if (error.again !== null && error.again !== undefined) retry = setTimeout(() => asker.grown(), error.again);
}

function refresh() {
  find("undo").disabled = !pad.undoable;
  find("clear").disabled = find("save").disabled = pad.empty;
  find("hint").hidden = !pad.empty;
  find("unshown").hidden = !pad.unshown;
  find("unshown").firstChild.textContent = pad.name;
  showCode(pad, Boolean(key));
}

pad.addEventListener("begun", () => {
  opened++;
  refresh();
});
pad.addEventListener("drawn", () => asker.grown());
pad.addEventListener("replaced", () => {
  clearTimeout(retry);
  refresh();
  asker.replaced({ ask: !pad.empty });
  if (pad.empty) showNothing();
});

// Show `file`, a Blob or the promise of one, unless something else was drawn or opened meanwhile.
async function open(file, name, sample = null) {
  const mine = ++opened;
  let blob = await file;
  const bitmap = await createImageBitmap(blob).catch(() => null); // null: a format this browser cannot show, or no picture
  if (bitmap && blob.size > LARGE) blob = await reduced(bitmap);
  if (mine !== opened) return;
  pad.show({ blob, name, sample, bitmap });
  find("frame").scrollIntoView({ block: "nearest" }); // on a phone the samples are far below
}

async function openSample(address, name) {
  try {
    await open(fetch(address).then((response) => response.blob()), name, address);
  } catch {
    showTrouble(new Trouble("The service cannot be reached. Try again."));
  }
}

function reduced(bitmap) {
  const scale = Math.min(1, REDUCED / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(bitmap.width * scale), Math.ceil(bitmap.height * scale)];
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
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
  const what = { z: event.shiftKey ? "redo" : "undo", y: "redo" }[event.key.toLowerCase()];
  if (!what) return;
  event.preventDefault();
  pad[what]();
});
addEventListener("paste", ({ clipboardData }) => {
  const [file] = clipboardData.files;
  if (file) open(file, file.name);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  find("frame").classList.add("over");
});
addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || find("frame").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  find("frame").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) open(file, file.name);
});
offerCamera((blob) => {
  if (blob) open(blob, "camera.png");
  else showTrouble(new Trouble("The camera cannot be used: it is in use elsewhere, or this page may not have it."));
});

for (let digit = 0; digit < 10; digit++) {
  const address = new URL(`samples/${digit}.png`, document.baseURI).href;
  const button = document.createElement("button");
  const image = Object.assign(new Image(28, 28), { src: address, alt: `Sample of ${digit}` });
  button.append(image);
  button.addEventListener("click", () => openSample(address, `${digit}.png`));
  find("samples").append(button);
}

find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = find("key").value.trim();
  sessionStorage.setItem("key", key);
  find("key-form").hidden = true;
  refresh();
  asker.replaced({ ask: !pad.empty });
});

showNothing();
refresh();
