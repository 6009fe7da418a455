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
  /** Whom to tell when it can hit nothing any more, or is dropped. */
  readonly onOver: (() => void)[];
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

  /**
   * Cancels what `server` runs, as long as `isWanted` says so. Past all bounds the order is dropped. `onOver` is called
   * once, as soon as nothing of it can come any more: it was dropped, or the server has closed its connection, or it was
   * given up.
   */
  start(server: ServerConnection, isWanted: () => boolean, onOver: () => void): void {
    if (server.cancelKey === null) return onOver();
    const { readyCount } = server;
    // One place for each server, or an impatient client would push everybody else out.
    const index = this.#queue.findIndex((order) => order.server === server);
    const waiting = this.#queue[index];
    if (waiting?.readyCount === readyCount) {
      waiting.isWanted = isWanted;
      waiting.onOver.push(onOver);
      return;
    }
    if (waiting !== undefined) {
      this.#queue.splice(index, 1);
      end(waiting);
    }
    this.#queue.push({ server, isWanted, readyCount, sinceMs: this.#environment.now(), onOver: [onOver] });
    this.#advance();
    if (this.#queue.length > this.#limit * QUEUE_PER_SLOT) end(this.#queue.pop()!);
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
    while (this.#queue[0] !== undefined && nowMs - this.#queue[0].sinceMs >= timeoutMs) end(this.#queue.shift()!);
    for (const request of this.#underWay.keys()) if (nowMs - request.startedMs >= timeoutMs) request.giveUp();
  }

  #advance(): void {
    while (this.#underWay.size < this.#limit) {
      const order = this.#queue.shift();
      if (order === undefined) return;
      if (order.isWanted()) this.#send(order);
      else end(order);
    }
  }

  #send(order: Order): void {
    const { server, isWanted } = order;
    const target = { address: server.address, key: server.cancelKey!, tls: server.cancelTls };
    const request = new CancelRequest(this.#environment, target, {
      isCancelWanted: isWanted,
      onCancelSent: () => {
        server.cancelsInFlight++;
      },
      onCancelClosed: (how) => {
        this.#underWay.delete(request);
        if (how === 'uncertain') server.closeWhenFree ??= 'cancel_uncertain';
        if (how !== 'unsent') server.cancelEnded();
        end(order);
        this.#advance();
      },
    });
    this.#underWay.set(request, server);
  }
}

function end(order: Order): void {
  for (const onOver of order.onOver) onOver();
}
