/**
 * The cancels of one pool, in a lane of their own: they need no server slot, but each costs PostgreSQL a fork, so only so
 * many are under way at a time and the others wait in line. One that has nothing left to cancel is dropped unsent.
 */
import type { Environment } from '../base/environment.ts';
import { CancelRequest } from '../server/cancel-request.ts';
import type { ServerConnection } from '../server/server-connection.ts';

interface Order {
  readonly server: ServerConnection;
  isWanted: () => boolean;
  /** What it is to cancel: whatever runs until the next ReadyForQuery. */
  readonly readyCount: number;
  readonly sinceMs: number;
}

/** With an unlimited pool there still is a limit here. */
const DEFAULT_LANE = 20;
/** How many may wait for each that is under way. */
const QUEUE_PER_SLOT = 10;

export class CancelLane {
  readonly #environment: Environment;
  readonly #underWay = new Map<CancelRequest, ServerConnection>();
  readonly #queue: Order[] = [];
  #limit = DEFAULT_LANE;

  constructor(environment: Environment, limit: number) {
    this.#environment = environment;
    this.configure(limit);
  }

  /** `limit`: the size of the pool. */
  configure(limit: number): void {
    this.#limit = limit > 0 ? limit : DEFAULT_LANE;
    this.#advance();
  }

  get active(): number {
    return this.#underWay.size;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Cancels what `server` runs, as long as `isWanted` says so. Past all bounds the order is dropped. */
  start(server: ServerConnection, isWanted: () => boolean): void {
    if (server.cancelKey === null) return;
    const { readyCount } = server;
    // One place for each server, or an impatient client would push everybody else out.
    const index = this.#queue.findIndex((order) => order.server === server);
    const waiting = this.#queue[index];
    if (waiting?.readyCount === readyCount) {
      waiting.isWanted = isWanted;
      return;
    }
    if (waiting !== undefined) this.#queue.splice(index, 1);
    this.#queue.push({ server, isWanted, readyCount, sinceMs: this.#environment.now() });
    this.#advance();
    if (this.#queue.length > this.#limit * QUEUE_PER_SLOT) this.#queue.pop();
  }

  /** Whether a cancel for `server` waits or is under way. */
  has(server: ServerConnection): boolean {
    if (this.#queue.some((order) => order.server === server)) return true;
    for (const target of this.#underWay.values()) if (target === server) return true;
    return false;
  }

  /** Called now and then: those that have waited, or been under way, for `timeoutMs` are given up. */
  checkDeadlines(nowMs: number, timeoutMs: number): void {
    if (timeoutMs <= 0) return;
    while (this.#queue[0] !== undefined && nowMs - this.#queue[0].sinceMs >= timeoutMs) this.#queue.shift();
    for (const request of this.#underWay.keys()) if (nowMs - request.startedMs >= timeoutMs) request.giveUp();
  }

  #advance(): void {
    while (this.#underWay.size < this.#limit) {
      const order = this.#queue.shift();
      if (order === undefined) return;
      if (order.isWanted()) this.#send(order);
    }
  }

  #send({ server, isWanted }: Order): void {
    const target = { address: server.address, key: server.cancelKey!, tls: server.cancelTls };
    const request = new CancelRequest(this.#environment, target, {
      isCancelWanted: isWanted,
      onCancelSent: () => {
        server.cancelsInFlight++;
      },
      onCancelClosed: (end) => {
        this.#underWay.delete(request);
        if (end === 'uncertain') server.closeWhenFree ??= 'cancel_uncertain';
        if (end !== 'unsent') server.cancelEnded();
        this.#advance();
      },
    });
    this.#underWay.set(request, server);
  }
}
