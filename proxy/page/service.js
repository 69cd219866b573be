// One request to the service: an image is sent, its prediction returned.

const TIMEOUT = 20_000; // ms
export const ENDPOINT = new URL("api/mnist", document.baseURI).href;

// A failure with a message for the user. `retryAfter`: ms after which to try again, or null.
export class ServiceError extends Error {
  constructor(message, { code = "", id = "", retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { code, id, retryAfter });
  }
}

// Resolves to {predictions, details, milliseconds} of the image `blob`; throws ServiceError.
export async function classify(blob, name, key, signal) {
  const body = new FormData();
  body.append("image", blob, name);
  const started = performance.now();
  const response = await send(body, key, signal);
  const result = await response.json().catch(() => null);
  if (response.ok && result?.predictions) return { ...result, milliseconds: performance.now() - started };
  const { message = `The service responded with status ${response.status}.`, code, request_id: id } = result?.error ?? {};
  const seconds = response.headers.get("Retry-After");
  throw new ServiceError(message, { code, id, retryAfter: seconds === null ? null : 1000 * seconds });
}

// Resolves to what the served model says of itself, or null where that is not known yet.
export async function servedModel() {
  const response = await fetch(new URL("page/model.json", document.baseURI)).catch(() => null);
  return response?.ok ? response.json() : null;
}

async function send(body, key, signal) {
  const headers = key ? { "X-API-Key": key } : {};
  const aborted = new AbortController();
  const timer = setTimeout(() => aborted.abort(), TIMEOUT);
  signal.addEventListener("abort", () => aborted.abort());
  if (signal.aborted) aborted.abort();
  try {
    return await fetch(`${ENDPOINT}?details=1`, { method: "POST", body, headers, signal: aborted.signal });
  } catch {
    throw new ServiceError("The service cannot be reached. Trying again…", { retryAfter: 2000 });
  } finally {
    clearTimeout(timer);
  }
}
