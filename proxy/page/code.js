// Code that sends the same request as the page.

import { ENDPOINT } from "./service.js";

const find = (id) => document.getElementById(id);
let pad = null;
let withKey = false;

const curl = (source, file) =>
  [source, "curl", withKey && "-H \"X-API-Key: $API_KEY\"", `-F ${shellWord(`image=@${file}`)}`, ENDPOINT].filter(Boolean).join(" ");

// curl takes a comma or a semicolon for the end of a name that is not quoted.
const formFile = (name) => (/[,;"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name);

// The name of a file may be anything, a command too.
const shellWord = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const LISTINGS = {
  curl: () => (pad.sample ? curl(`curl -s ${pad.sample} |`, "-;filename=sample.png") : curl("", formFile(pad.name))),
  fetch: () => `const body = new FormData();
body.append("image", ${pad.sample ? `await (await fetch("${pad.sample}")).blob(), "sample.png"` : `document.querySelector("input[type=file]").files[0]`});
const response = await fetch("${ENDPOINT}", { method: "POST", body${withKey ? ', headers: { "X-API-Key": key }' : ""} });
const { predictions } = await response.json();
console.log(predictions.prediction.class_name);`,
  python: () => `import requests

image = ${pad.sample ? `requests.get("${pad.sample}").content` : `open(${JSON.stringify(pad.name)}, "rb")`}
response = requests.post("${ENDPOINT}", files={"image": image}${withKey ? ', headers={"X-API-Key": key}' : ""})
print(response.json()["predictions"]["prediction"]["class_name"])`,
};

export function showCode(of, hasKey) {
  [pad, withKey] = [of, hasKey];
  const language = document.querySelector("[name=language]:checked").value;
  find("listing").textContent = LISTINGS[language]();
}

for (const choice of document.querySelectorAll("[name=language]")) choice.addEventListener("change", () => showCode(pad, withKey));

find("copy").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.textContent = (await copied(find("listing"))) ? "Copied" : "Press Ctrl+C";
  setTimeout(() => (button.textContent = "Copy"), 1500);
});

// Browsers deny the clipboard to pages served over plain HTTP from another host. There the text is selected instead.
async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return false;
  }
}
