// Schedules requests while the image changes: debounced, one in flight at a time. Responses to an older image are dropped.

const QUIET = 50; // ms without a change after which a request is sent
const LONGEST = 150; // ms after which a request is sent even though changes continue

export class Requests {
  #send;
  #succeeded;
  #failed;
  #number = 0; // of the latest request
  #valid = 1; // responses to requests before this one are stale
  #inFlight = null; // AbortController of the request in flight
  #pending = false; // the image has changed since that request was sent
  #timer = null;
  #changedAt = null; // ms; first change since the latest request

  // send(signal) resolves to a result. Then succeeded(result) or failed(error) is called, unless the result is stale.
  constructor(send, succeeded, failed) {
    [this.#send, this.#succeeded, this.#failed] = [send, succeeded, failed];
  }

  // The drawing was extended. The result of a request in flight is still shown.
  extended() {
    const now = performance.now();
    this.#changedAt ??= now;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#next(), Math.min(QUIET, Math.max(0, this.#changedAt + LONGEST - now)));
  }

  // There is another image, or none: cancels the request in flight.
  replaced({ empty }) {
    clearTimeout(this.#timer);
    this.#valid = this.#number + 1;
    this.#inFlight?.abort();
    this.#inFlight = this.#changedAt = null;
    this.#pending = false;
    if (!empty) this.#next();
  }

  async #next() {
    this.#changedAt = null;
    if (this.#inFlight) {
      this.#pending = true;
      return;
    }
    const number = ++this.#number;
    const own = (this.#inFlight = new AbortController());
    try {
      const result = await this.#send(own.signal);
      if (number >= this.#valid) this.#succeeded(result);
    } catch (error) {
      if (number >= this.#valid) this.#failed(error);
    }
    if (this.#inFlight !== own) return;
    this.#inFlight = null;
    if (this.#pending) {
      this.#pending = false;
      this.#next();
    }
  }
}
