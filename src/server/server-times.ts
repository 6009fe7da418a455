/**
 * When things happened on one server connection, and what that adds up to for its pool. Times are monotonic
 * milliseconds; 0 means "not now". The clock is read twice in a transaction of one query: at its link and at its answer.
 */
import type { Environment } from '../base/environment.ts';
import { STATUS_IDLE } from '../protocol/message-type.ts';
import type { TrafficCounters } from './traffic-counters.ts';

export class ServerTimes {
  readonly connectedAtMs: number;
  /** When it came into its present state. */
  stateSinceMs: number;
  /** Since when the server owes something. */
  busySinceMs = 0;
  /** When the open transaction began. */
  transactionSinceMs = 0;
  /** When the last owed reply came. */
  answeredAtMs: number;
  readonly #environment: Environment;
  readonly #traffic: TrafficCounters;

  constructor(environment: Environment, traffic: TrafficCounters) {
    this.#environment = environment;
    this.#traffic = traffic;
    this.connectedAtMs = environment.now();
    this.stateSinceMs = this.connectedAtMs;
    this.answeredAtMs = this.connectedAtMs;
  }

  /** Since the connection was begun. */
  get ageMs(): number {
    return this.#environment.now() - this.connectedAtMs;
  }

  /** Came into a new state, now or at a moment that is known already. */
  moved(atMs: number = this.#environment.now()): void {
    this.stateSinceMs = atMs;
  }

  /** A client got the server in this moment, and its first message follows. */
  linked(): void {
    this.busySinceMs = this.stateSinceMs;
    this.transactionSinceMs = this.stateSinceMs;
  }

  /** Something was sent that will be answered. */
  asked(): void {
    if (this.busySinceMs !== 0) return;
    this.busySinceMs = this.#environment.now();
    if (this.transactionSinceMs === 0) this.transactionSinceMs = this.busySinceMs;
  }

  /** Nothing is owed any more. `forClient`: what was answered was a client's. */
  answered(forClient: boolean): void {
    if (this.busySinceMs === 0) return;
    this.answeredAtMs = this.#environment.now();
    if (forClient) this.#traffic.queryMs += this.answeredAtMs - this.busySinceMs;
    this.busySinceMs = 0;
  }

  /** A client's request has ended with `status`; `owed` replies to others are still to come. */
  ready(status: number, owed: number): void {
    const nowMs = owed === 0 ? this.#answeredNow() : this.#nextAsked();
    this.#traffic.queries++;
    if (status !== STATUS_IDLE) return;
    this.#traffic.transactions++;
    if (this.transactionSinceMs === 0) return;
    // In a pipeline the next transaction begins as soon as this one has ended.
    this.#traffic.transactionMs += nowMs - this.transactionSinceMs;
    this.transactionSinceMs = owed === 0 ? 0 : nowMs;
  }

  #answeredNow(): number {
    this.answered(true);
    return this.answeredAtMs;
  }

  /** In a pipeline the server turns to the next query as soon as this one has ended. */
  #nextAsked(): number {
    const nowMs = this.#environment.now();
    this.#traffic.queryMs += nowMs - this.busySinceMs;
    this.busySinceMs = nowMs;
    return nowMs;
  }
}
