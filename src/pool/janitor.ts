/**
 * The one timer: a few times a second it looks at everything that has a deadline. A deadline is a number; nothing on the
 * data path starts or stops a timer.
 */
import type { Environment, Timer } from '../base/environment.ts';

export interface JanitorRound {
  /** `nowMs` is the monotonic time of the round. */
  onRound(nowMs: number): void;
}

const ROUND_MS = 200;
/** A round that is later than this has slept (SIGSTOP, a suspended machine). */
const OVERSLEPT_MS = 2000;

export class Janitor {
  readonly #environment: Environment;
  readonly #rounds: JanitorRound;
  #timer: Timer | null = null;
  #lastMs = 0;

  constructor(environment: Environment, rounds: JanitorRound) {
    this.#environment = environment;
    this.#rounds = rounds;
  }

  start(): void {
    this.#lastMs = this.#environment.now();
    this.#timer = this.#environment.startTimer(ROUND_MS, () => this.#round(), 'repeat');
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #round(): void {
    const nowMs = this.#environment.now();
    const sleptMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    // What should have arrived meanwhile lies unread in the sockets: it is read before anybody is judged by the clock.
    if (sleptMs < OVERSLEPT_MS) this.#rounds.onRound(nowMs);
  }
}
