// The OpenAPI document, set for reading; each operation can be tried.

const find = (id) => document.getElementById(id);
const METHODS = ["get", "post"];
let api = null;

// An element; `content` are texts and elements. In texts, `code` between backticks is set as code.
function make(tag, attributes = {}, ...content) {
  const element = Object.assign(document.createElement(tag), attributes);
  for (const one of content.flat()) element.append(...(typeof one === "string" ? marked(one) : [one]));
  return element;
}

function marked(text) {
  return text.split("`").map((part, i) => {
    if (i % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
}

function resolve(thing) {
  if (!thing?.$ref) return thing;
  return thing.$ref.split("/").slice(1).reduce((at, key) => at[key], api);
}

function rows(pairs) {
  const lines = pairs.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, name), cells.map((cell) => make("td", {}, cell))),
  );
  return make("div", { className: "wide" }, make("table", {}, make("tbody", {}, lines)));
}

function operation(path, method, about) {
  const parts = [
    make("h3", {}, about.summary),
    make("p", { className: "route" }, make("span", { className: "method" }, method.toUpperCase()), path),
  ];
  if (about.description) parts.push(make("p", {}, about.description));
  if (about.parameters) parts.push(make("h4", {}, "Parameters"), parameters(about.parameters.map(resolve)));
  if (about.requestBody) parts.push(make("h4", {}, "Body"), body(about.requestBody));
  parts.push(make("h4", {}, "Answers"), answers(about.responses), make("h4", {}, "Try it"), trial(path, method, about));
  return make("section", { className: "operation", id: about.operationId }, parts);
}

const parameters = (list) => rows(list.map((one) => ["`" + one.name + "`", one.in, one.description]));

function body({ content }) {
  return rows(Object.entries(content).map(([type, { schema }]) => ["`" + type + "`", fields(resolve(schema))]));
}

function fields(schema) {
  if (schema.type !== "object") return schema.description ?? schema.type;
  return Object.entries(schema.properties)
    .map(([name, one]) => `\`${name}\`: ${one.type === "array" ? `up to ${one.maxItems} files` : "a file"}`)
    .join(", ");
}

function answers(responses) {
  return rows(
    Object.entries(responses).flatMap(([status, told]) => {
      const response = resolve(told);
      const examples = Object.entries(response.content["application/json"]?.examples ?? {});
      if (!examples.length) return [[status, kind(response), response.description]];
      return examples.map(([code, { value }]) => [status, "`" + code + "`", value.error.message]);
    }),
  );
}

function kind(response) {
  const [[type, { schema }]] = Object.entries(response.content);
  return schema?.$ref ? link(schema) : type;
}

function trial(path, method, about) {
  const reply = make("pre", { className: "reply", hidden: true, tabIndex: 0 });
  reply.setAttribute("aria-label", "Answer");
  const form = make("form", { className: "try" });
  const file = make("input", { type: "file", accept: "image/*", multiple: path.endsWith("batch"), required: true });
  file.setAttribute("aria-label", "Picture");
  const details = make("input", { type: "checkbox" });
  const key = make("input", { type: "password", placeholder: "API key", autocomplete: "off" });
  key.setAttribute("aria-label", "API key");
  if (about.requestBody) form.append(file, make("label", {}, details, "details"));
  if (about.security?.some((one) => one.key)) form.append(key);
  form.append(make("button", { className: "main" }, "Send"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    reply.hidden = false;
    reply.textContent = "…";
    reply.textContent = await send(path, method, about.requestBody && file.files, details.checked, key.value);
  });
  return make("div", {}, form, reply);
}

async function send(path, method, files, details, key) {
  const options = { method: method.toUpperCase(), headers: key ? { "X-API-Key": key } : {} };
  if (files) {
    options.body = new FormData();
    for (const file of files) options.body.append("image", file);
  }
  try {
    const response = await fetch(new URL(path.slice(1) + (details ? "?details=1" : ""), document.baseURI), options);
    const text = await response.text();
    const json = response.headers.get("content-type")?.includes("json");
    return `${response.status}\n\n${json ? JSON.stringify(JSON.parse(text), null, 2) : text}`;
  } catch {
    return "The service cannot be reached.";
  }
}

function schema(name, about) {
  const parts = [make("h3", {}, name), ...(about.description ? [make("p", {}, about.description)] : []), rows(properties(about))];
  if (about.example) parts.push(make("pre", { tabIndex: 0 }, JSON.stringify(about.example)));
  return make("section", { className: "schema", id: name }, parts);
}

// [name, type, description] of each property; those of nested objects are named by their way.
function properties(about, way = "") {
  return Object.entries(about.properties).flatMap(([name, one]) => {
    const own = ["`" + way + name + "`", type(one), one.description ?? ""];
    return one.properties ? [own, ...properties(one, `${way}${name}.`)] : [own];
  });
}

function type(one) {
  if (one.$ref) return link(one);
  if (one.oneOf) return make("span", {}, one.oneOf.flatMap((each, i) => (i ? [" or ", link(each)] : [link(each)])));
  if ("const" in one) return "`" + one.const + "`";
  if (one.items) return make("span", {}, "list of ", type(one.items));
  return one.enum && one.enum.length < 5 ? one.enum.map((each) => "`" + each + "`").join(", ") : one.type;
}

function link({ $ref }) {
  const name = $ref.split("/").at(-1);
  return make("a", { href: `#${name}` }, name);
}

function section(title, elements, links) {
  find("main").append(make("h2", {}, title), ...elements);
  find("list").append(make("h2", {}, title), ...links);
}

function show(found) {
  api = found;
  find("title").textContent = `${api.info.title} API`;
  find("summary").textContent = api.info.summary;
  find("about").append(...marked(api.info.description));
  const all = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => [path, method, item[method]]),
  );
  for (const { name } of api.tags) {
    const own = all.filter(([, , about]) => about.tags.includes(name));
    section(name, own.map((one) => operation(...one)), own.map(([, , about]) => make("a", { href: `#${about.operationId}` }, about.summary)));
  }
  const schemas = Object.entries(api.components.schemas);
  section("Schemas", schemas.map((one) => schema(...one)), schemas.map(([name]) => make("a", { href: `#${name}` }, name)));
  if (location.hash) document.querySelector(location.hash)?.scrollIntoView();
}

fetch("openapi.json")
  .then((response) => response.json())
  .then(show)
  .catch(() => (find("summary").textContent = "The OpenAPI document cannot be loaded. Load this page again."));
