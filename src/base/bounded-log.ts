/**
 * A log for events that strangers cause: so many lines in a while, and then one that says how many were left out. It
 * knows nothing of what they are about.
 */
import type { Environment } from './environment.ts';
import type { LogFields, Logger } from './logger.ts';

const LINES = 10;
const WINDOW_MS = 10_000;

export class BoundedLog {
  readonly #environment: Environment;
  readonly #log: Logger;
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #leftOut = 0;

  constructor(environment: Environment, log: Logger) {
    this.#environment = environment;
    this.#log = log;
  }

  /** `leftOut` in a line's fields: how many came before it that were not written. */
  warn(fields: LogFields, message: string): void {
    const nowMs = this.#environment.now();
    if (nowMs - this.#windowStartMs >= WINDOW_MS) {
      this.#windowStartMs = nowMs;
      this.#lines = 0;
    }
    if (this.#lines >= LINES) {
      this.#leftOut++;
      return;
    }
    this.#lines++;
    this.#log.warn(this.#leftOut === 0 ? fields : { ...fields, leftOut: this.#leftOut }, message);
    this.#leftOut = 0;
  }
}
