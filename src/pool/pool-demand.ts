/**
 * How many server connections a pool wants and may have, for whom the next one is, and which idle one has to make room:
 * arithmetic over lists and limits. It opens, closes and moves none.
 */
import type { LinkedList } from '../base/linked-list.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import { StartupSet } from '../server/startup-set.ts';
import type { Connector, ConnectorDemand } from './connector.ts';
import type { DedicatedServers } from './dedicated-servers.ts';
import type { IdlePicker } from './idle-picker.ts';
import type { LearnedParameters } from './learned-parameters.ts';
import { nextStartup } from './next-startup.ts';
import type { ServerHealth } from './server-health.ts';
import type { ServerLists } from './server-lists.ts';
import { firstSinceMs, type Waiter } from './waiter.ts';

/** The pool. */
export interface DemandSource {
  readonly settings: PoolSettings;
  readonly servers: ServerLists;
  readonly waiting: LinkedList<Waiter>;
  readonly learned: LearnedParameters;
  readonly dedicated: DedicatedServers;
  readonly health: ServerHealth;
  readonly connector: Connector<ServerConnection>;
  /** Whether somebody may come. */
  readonly isUsed: boolean;
  /** Nothing is opened for anybody. */
  readonly isPaused: boolean;
}

/** What else holds a slot, or is about to be idle. */
export interface DemandParts {
  readonly idle: IdlePicker;
  readonly introducing: ReadonlySet<ServerConnection>;
  readonly uncertainSlots: { readonly size: number };
  readonly now: () => number;
}

export class PoolDemand implements ConnectorDemand {
  readonly #pool: DemandSource;
  readonly #parts: DemandParts;

  constructor(pool: DemandSource, parts: DemandParts) {
    this.#pool = pool;
    this.#parts = parts;
  }

  missing(coming: number): number {
    const { waiting, learned, isPaused } = this.#pool;
    if (isPaused) return -coming;
    let wanted = waiting.size - this.#soonIdle;
    if (learned.waiting.size > 0 && !this.#knowsServer) wanted = Math.max(wanted, 1);
    return wanted - coming;
  }

  isBelowMinimum(coming: number): boolean {
    const { servers, settings, isUsed, isPaused } = this.#pool;
    return isUsed && !isPaused && servers.alive + coming < settings.minPoolSize;
  }

  room(): number {
    const { servers, settings, waiting, dedicated, connector } = this.#pool;
    const { poolSize, reservePoolSize, reservePoolTimeoutMs } = settings;
    if (poolSize === 0) return Number.POSITIVE_INFINITY;
    const sinceMs = Math.min(firstSinceMs(waiting), firstSinceMs(dedicated.waiting));
    const useReserve = reservePoolTimeoutMs > 0 && this.#parts.now() - sinceMs >= reservePoolTimeoutMs;
    const taken = servers.total + this.#parts.uncertainSlots.size;
    const soonTaken = connector.unopened + dedicated.unopened;
    return poolSize + (useReserve ? reservePoolSize : 0) - taken - soonTaken;
  }

  /** By how much that grows when those that are on their way out have gone. */
  get slotsComing(): number {
    return this.#pool.servers.in('closing').size + this.#parts.uncertainSlots.size;
  }

  /** What the next connection is to be opened with. */
  nextStartup(): StartupSet {
    const { servers, waiting, dedicated } = this.#pool;
    const connecting = [...servers.in('connecting')].filter((server) => !dedicated.owns(server));
    const soonIdle = [...this.#parts.introducing, ...servers.in('resetting'), ...servers.in('testing')];
    return nextStartup(waiting, [...connecting, ...soonIdle]);
  }

  /** Somebody who came before wants the same. */
  isAwaited({ key }: StartupSet): boolean {
    for (let waiter = this.#pool.waiting.first; waiter !== null; waiter = waiter.next) {
      if (waiter.startup.key === key) return true;
    }
    return false;
  }

  /**
   * Which server has to go for `waiter`, the `rank`th for whom no idle one will do: the longest idle one of another set, if
   * no more can be opened than are on their way to those before it. Null for none.
   */
  replaceable({ startup }: Waiter, rank: number): ServerConnection | null {
    const other = this.#parts.idle.longestOther(startup.key);
    if (other === null) return null;
    const { health, connector } = this.#pool;
    const { coming, claimed } = connector;
    if (rank <= this.#soonIdle + coming - claimed + this.slotsComing) return null;
    // What cannot be opened at the moment is worth nothing that is open.
    if (!health.mayTry(this.#parts.now(), coming + this.slotsComing)) return null;
    return this.room() <= 0 || claimed > 0 ? other : null;
  }

  /** There is a server that has told, or will tell, what parameters a client begins with. */
  get #knowsServer(): boolean {
    const { servers } = this.#pool;
    if (servers.alive === 0) return false;
    for (const server of servers) {
      const isUsable = server.state !== 'connecting' && server.state !== 'closing' && server.state !== 'dedicated';
      if (isUsable && server.closeWhenFree === null) return true;
    }
    return false;
  }

  /** Those that may become idle at any moment. */
  get #soonIdle(): number {
    const { idle, introducing } = this.#parts;
    return idle.promptChecks + introducing.size + this.#pool.servers.count('resetting');
  }
}
