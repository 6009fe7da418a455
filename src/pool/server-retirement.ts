/**
 * Why a server that has become free is not kept: it is outdated, the pool is paused or has too many since a reload, or it
 * has come to its age. It only judges, and knows no pool.
 */
import type { ServerCloseReason } from '../base/close-reason.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerLists } from './server-lists.ts';

/** The pool. */
export interface RetirementSource {
  readonly settings: PoolSettings;
  readonly servers: ServerLists;
  readonly isPaused: boolean;
}

export class ServerRetirement {
  readonly #source: RetirementSource;
  /** There may be more servers than a reload allows. */
  #isOversized = false;
  #lastLifeOverMs = 0;

  constructor(source: RetirementSource) {
    this.#source = source;
  }

  /** Null: it is kept. */
  reason(server: ServerConnection): ServerCloseReason | null {
    if (server.closeWhenFree !== null) return server.closeWhenFree;
    if (this.#source.isPaused) return 'paused';
    if (this.#isOversized) {
      this.#isOversized = this.excess > 0;
      if (this.#isOversized) return 'over_limit';
    }
    return this.isLifeOver(server, server.times.answeredAtMs) ? 'lifetime' : null;
  }

  /** The size of the pool may have changed. */
  resized(): void {
    this.#isOversized = this.excess > 0;
  }

  /** By how many there are more servers than there may be, without those that are on their way out. */
  get excess(): number {
    const { servers, settings } = this.#source;
    const { poolSize, reservePoolSize } = settings;
    return poolSize === 0 ? 0 : servers.total - servers.count('closing') - poolSize - reservePoolSize;
  }

  /** Whether `server` has lived for server_lifetime, and none was said to have shortly before. Who is told so closes it. */
  isLifeOver(server: ServerConnection, nowMs: number): boolean {
    const { serverLifetimeMs, poolSize } = this.#source.settings;
    if (serverLifetimeMs === 0) return server.uses > 0;
    if (nowMs - server.times.connectedAtMs < serverLifetimeMs) return false;
    // A cohort that was opened together is not closed together.
    const gapMs = poolSize > 0 ? serverLifetimeMs / poolSize : 0;
    if (nowMs - this.#lastLifeOverMs < gapMs) return false;
    this.#lastLifeOverMs = nowMs;
    return true;
  }
}
