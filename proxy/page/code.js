// The code that asks what the page just asked.

import { ENDPOINT } from "./service.js";

const find = (id) => document.getElementById(id);
let pad = null;
let key = false;

const curl = (head, address, source) =>
  [head + source, "curl", key && "-H \"X-API-Key: $API_KEY\"", `-F "image=@${address}"`, ENDPOINT].filter(Boolean).join(" ").replace(/^ +/, "");

const LISTINGS = {
  curl: () =>
    pad.sample ? curl(`curl -s ${pad.sample} |`, "-;filename=sample.png", "") : curl("", pad.name, ""),
  fetch: () => `const body = new FormData();
body.append("image", ${pad.sample ? `await (await fetch("${pad.sample}")).blob(), "sample.png"` : `document.querySelector("input[type=file]").files[0]`});
const response = await fetch("${ENDPOINT}", { method: "POST", body${key ? ', headers: { "X-API-Key": key }' : ""} });
const { predictions } = await response.json();
console.log(predictions.prediction.class_name);`,
  python: () => `import requests

picture = ${pad.sample ? `requests.get("${pad.sample}").content` : `open("${pad.name.replaceAll('"', '\\"')}", "rb")`}
answer = requests.post("${ENDPOINT}", files={"image": picture}${key ? ', headers={"X-API-Key": key}' : ""}).json()
print(answer["predictions"]["prediction"]["class_name"])`,
};

export function showCode(of, withKey) {
  [pad, key] = [of, withKey];
  const language = document.querySelector("[name=language]:checked").value;
  find("listing").textContent = LISTINGS[language]();
}

for (const choice of document.querySelectorAll("[name=language]")) choice.addEventListener("change", () => showCode(pad, key));

find("copy").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.textContent = (await copied(find("listing"))) ? "Copied" : "Press Ctrl+C";
  setTimeout(() => (button.textContent = "Copy"), 1500);
});

// The clipboard is closed to pages that came over plain http from elsewhere: there the text is selected instead.
async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return false;
  }
}
