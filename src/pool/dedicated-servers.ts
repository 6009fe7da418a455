/**
 * Server connections that belong to one client each and are never used again: who waits for one, and which is whose.
 * They count in the pool's size and in all budgets as others do, but a login with a client's own startup parameters says
 * nothing about those of the pool, so how it ends is told to that client alone.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { Environment } from '../base/environment.ts';
import type { ErrorReport } from '../base/errors.ts';
import { LinkedList } from '../base/linked-list.ts';
import type { ServerSecurity } from '../net/server-security.ts';
import type { Budget, BudgetScope, Lease } from '../server/lease.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerFailure } from '../server/server-holder.ts';
import type { TrafficCounters } from '../server/traffic-counters.ts';
import { Connector, type ConnectorDemand, type ConnectorOwner } from './connector.ts';
import type { HostFinder } from './host-finder.ts';
import type { LoginGate } from './login-gate.ts';
import { failureReport, ServerHealth } from './server-health.ts';
import type { ServerPlace } from './server-opener.ts';
import { type DedicatedWaiter, firstSinceMs, type Waiter } from './waiter.ts';

export interface DedicatedServersOptions {
  readonly environment: Environment;
  readonly budget: Budget;
  readonly gate: LoginGate;
  readonly finder: HostFinder;
  readonly security: ServerSecurity;
  readonly pool: DedicatedServersOwner;
}

/** The pool. */
export interface DedicatedServersOwner {
  readonly scopes: readonly BudgetScope[];
  readonly traffic: TrafficCounters;
  /** Who waits for a server that others may get afterwards. */
  readonly waiting: LinkedList<Waiter>;
  /** How many more connections the pool's size allows, and by how many that grows when those on their way out have gone. */
  readonly demand: { room(): number; readonly slotsComing: number };
  /** Nothing is opened for anybody. */
  readonly isPaused: boolean;
  /** See `Claimant`. */
  reclaim(count: number): number;
  open(place: ServerPlace, startup: ReadonlyMap<string, string>): ServerConnection | null;
}

export class DedicatedServers implements ConnectorOwner<ServerConnection>, ConnectorDemand {
  /** Those without a server that has logged in. */
  readonly waiting = new LinkedList<DedicatedWaiter>();
  readonly #environment: Environment;
  readonly #pool: DedicatedServersOwner;
  readonly #connector: Connector<ServerConnection>;
  /** Every connection that was opened here, until it has closed, with the one who waits for its login. */
  readonly #waiterOf = new Map<ServerConnection, DedicatedWaiter | null>();

  constructor({ pool, ...options }: DedicatedServersOptions) {
    this.#environment = options.environment;
    this.#pool = pool;
    // A health that never hears of a failure: each login is tried for its own sake.
    this.#connector = new Connector({ ...options, health: new ServerHealth(), owner: this, demand: this });
  }

  get scopes(): readonly BudgetScope[] {
    return this.#pool.scopes;
  }

  /** See `Connector`. */
  get coming(): number {
    return this.#connector.coming;
  }

  /** See `Connector`. */
  get unopened(): number {
    return this.#connector.unopened;
  }

  owns(server: ServerConnection): boolean {
    return this.#waiterOf.has(server);
  }

  /** A server that has become free has to go: its slot is what the one needs who has waited longest of all. */
  get isNext(): boolean {
    // Every transaction that ends comes by here.
    if (this.waiting.size === 0) return false;
    if (this.#pool.demand.room() > 0 || this.missing(this.coming) <= this.#pool.demand.slotsComing) return false;
    const next = this.#unserved();
    return next !== null && next.waitingSinceMs <= firstSinceMs(this.#pool.waiting);
  }

  // For clients

  /** A connection of its own for `waiter`, who hears of it. */
  request(waiter: DedicatedWaiter): void {
    waiter.waitingSinceMs = this.#environment.now();
    this.waiting.push(waiter);
    this.grow();
  }

  /** `waiter` gives up, if it waits. */
  leave(waiter: DedicatedWaiter): void {
    if (waiter.list !== this.waiting) return;
    this.waiting.remove(waiter);
    for (const [server, its] of this.#waiterOf) {
      if (its !== waiter) continue;
      this.#waiterOf.set(server, null);
      this.#connector.abandon(server);
      server.close('unneeded');
    }
    this.#connector.shrink();
  }

  // For the pool

  /** Starts what is wanted and allowed; for what the pool's size forbids, idle servers make room. */
  grow(): void {
    if (this.waiting.size === 0) return;
    this.#connector.grow();
    if (this.#pool.demand.room() <= 0) this.#pool.reclaim(this.missing(this.coming) - this.#pool.demand.slotsComing);
  }

  /** See `Connector.succeeded`. */
  loggedIn(server: ServerConnection): void {
    const waiter = this.#waiterOf.get(server) ?? null;
    this.#waiterOf.set(server, null);
    if (waiter !== null) this.waiting.remove(waiter);
    this.#connector.succeeded(server);
    if (waiter === null) {
      server.close('unneeded');
      return;
    }
    const { traffic } = this.#pool;
    traffic.waitMs += this.#environment.now() - waiter.waitingSinceMs;
    traffic.assignments++;
    waiter.onServer(server);
  }

  /** See `Connector.failed`. Who can try again does so, at this address or the next, or hears of it in `onUnreachable`. */
  failed(server: ServerConnection, failure: ServerFailure): void {
    const waiter = this.#connector.isFinal(server, failure) ? (this.#waiterOf.get(server) ?? null) : null;
    this.#waiterOf.set(server, null);
    if (waiter !== null) this.waiting.remove(waiter);
    this.#connector.failed(server, failure);
    waiter?.onNoServer(failureReport(failure), 'server_unavailable');
  }

  /** See `Connector.closed`. */
  closed(server: ServerConnection, confirmed: boolean): boolean {
    this.#waiterOf.delete(server);
    return this.#connector.closed(server, confirmed);
  }

  /** Connections that are being opened go to the wrong place: they are closed, and `grow` opens others. */
  restart(gate: LoginGate): void {
    for (const server of this.#connector.restart(gate)) {
      this.#waiterOf.set(server, null);
      server.close('config_changed');
    }
  }

  /** `server`, which is being opened, is closed by the pool: who waits for it goes on waiting. */
  abandon(server: ServerConnection): void {
    this.#waiterOf.set(server, null);
    this.#connector.abandon(server);
  }

  /** See `Connector`. */
  shrink(): void {
    this.#connector.shrink();
  }

  /** Nothing is opened any more; who waits hears why. Connections that are there are the pool's to close. */
  stop(report: ErrorReport, reason: ClientCloseReason): void {
    this.#connector.stop();
    for (const server of this.#waiterOf.keys()) this.#waiterOf.set(server, null);
    for (let waiter = this.waiting.shift(); waiter !== null; waiter = this.waiting.shift()) {
      waiter.onNoServer(report, reason);
    }
  }

  // ConnectorOwner

  onLease(lease: Lease): void {
    this.#connector.granted(lease);
  }

  /** None of these is ever idle. */
  idleSinceMs(): null {
    return null;
  }

  reclaim(): number {
    return 0;
  }

  missing(coming: number): number {
    return (this.#pool.isPaused ? 0 : this.waiting.size) - coming;
  }

  room(): number {
    return this.#pool.demand.room();
  }

  isBelowMinimum(): boolean {
    return false;
  }

  open(place: ServerPlace): ServerConnection | null {
    const waiter = this.#unserved();
    if (waiter === null) return null;
    const server = this.#pool.open(place, waiter.startup);
    if (server !== null) this.#waiterOf.set(server, waiter);
    return server;
  }

  /** Whose try it was cannot be told, but all of them are for the same server. */
  onUnreachable(failure: ServerFailure): void {
    const waiter = this.#unserved();
    if (waiter === null) return;
    this.waiting.remove(waiter);
    waiter.onNoServer(failureReport(failure), 'server_unavailable');
  }

  /** The first for whom no connection is being opened. */
  #unserved(): DedicatedWaiter | null {
    const served = new Set(this.#waiterOf.values());
    for (const waiter of this.waiting) if (!served.has(waiter)) return waiter;
    return null;
  }
}
