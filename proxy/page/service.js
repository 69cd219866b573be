// One question to the service: a picture there, its prediction back.

const PATIENCE = 20_000; // ms
export const ENDPOINT = new URL("api/mnist", document.baseURI).href;

// What went wrong, in a sentence for people. `again`: ms after which asking again makes sense, or null.
export class Trouble extends Error {
  constructor(message, { code = "", id = "", again = null } = {}) {
    super(message);
    Object.assign(this, { code, id, again });
  }
}

// {predictions, details, milliseconds} of the picture `blob`; raises Trouble.
export async function classify(blob, name, key, signal) {
  const body = new FormData();
  body.append("image", blob, name);
  const started = performance.now();
  const response = await send(body, key, signal);
  const answer = await response.json().catch(() => null);
  if (response.ok && answer?.predictions) return { ...answer, milliseconds: performance.now() - started };
  const { message = `The service answered with status ${response.status}.`, code, request_id: id } = answer?.error ?? {};
  const seconds = response.headers.get("Retry-After");
  throw new Trouble(message, { code, id, again: seconds === null ? null : 1000 * seconds });
}

async function send(body, key, signal) {
  const headers = key ? { "X-API-Key": key } : {};
  const ended = new AbortController();
  const timer = setTimeout(() => ended.abort(), PATIENCE);
  signal.addEventListener("abort", () => ended.abort());
  try {
    return await fetch(`${ENDPOINT}?details=1`, { method: "POST", body, headers, signal: ended.signal });
  } catch {
    throw new Trouble("The service cannot be reached. Trying again…", { again: 2000 });
  } finally {
    clearTimeout(timer);
  }
}
