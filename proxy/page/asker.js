// Asks while the picture changes: not for each change, one question at a time, and never shows an answer that is stale.

const REST = 50; // ms without a change after which to ask
const MOST = 150; // ms after which to ask though changes go on

export class Asker {
  #ask;
  #shown;
  #failed;
  #number = 0; // of the last question
  #valid = 1; // answers to earlier questions are stale
  #flight = null; // AbortController of the question under way
  #again = false; // the picture changed since
  #timer = null;
  #since = null; // ms; first change not asked about

  // ask(signal) resolves to an answer; then shown(answer) or failed(error) is called, unless it is stale.
  constructor(ask, shown, failed) {
    [this.#ask, this.#shown, this.#failed] = [ask, shown, failed];
  }

  // The picture grew: answers on their way are still about it.
  grown() {
    const now = performance.now();
    this.#since ??= now;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), Math.min(REST, Math.max(0, this.#since + MOST - now)));
  }

  // It is another picture: whatever is on its way is stale.
  replaced({ ask }) {
    clearTimeout(this.#timer);
    this.#valid = this.#number + 1;
    this.#flight?.abort();
    this.#flight = this.#since = null;
    this.#again = false;
    if (ask) this.#send();
  }

  async #send() {
    this.#since = null;
    if (this.#flight) {
      this.#again = true;
      return;
    }
    const number = ++this.#number;
    const flight = (this.#flight = new AbortController());
    try {
      const answer = await this.#ask(flight.signal);
      if (number >= this.#valid) this.#shown(answer);
    } catch (error) {
      if (number >= this.#valid) this.#failed(error);
    }
    if (this.#flight !== flight) return;
    this.#flight = null;
    if (this.#again) {
      this.#again = false;
      this.#send();
    }
  }
}
