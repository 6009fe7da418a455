/**
 * What has to happen to the session of a server that has become free before anybody else gets it: server_reset_query,
 * what undoes its dirt, or its end. It only judges; running it is the pool's business.
 */
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import type { ServerConnection } from '../server/server-connection.ts';

/** Other reset queries may leave something of what was set for a client. */
const DISCARDS_ALL = /^\s*discard\s+all\s*;?\s*$/i;

export class ResetPolicy {
  readonly #settings: Settings;
  readonly #isSession: boolean;
  readonly #undoesDirt: boolean;

  readonly #connectQuery: string | null;

  constructor(settings: Settings, { poolMode, connectQuery }: PoolSettings) {
    this.#settings = settings;
    this.#connectQuery = connectQuery;
    this.#isSession = poolMode === 'session';
    this.#undoesDirt = !this.#isSession && settings.serverDirtyPolicy !== 'keep';
  }

  /** Nothing but a new session undoes what clients have left. */
  isSpoilt({ dirt }: ServerConnection): boolean {
    return !dirt.isClean && dirt.isForGood && this.#undoesDirt;
  }

  /** What has to be run; '' for nothing. */
  query({ state, dirt }: ServerConnection): string {
    const { serverResetQuery, serverResetQueryAlways } = this.#settings;
    if (state === 'resetting') return '';
    const isReset = state !== 'preparing' && (this.#isSession || serverResetQueryAlways);
    const undoing = dirt.isClean || !this.#undoesDirt ? '' : dirt.resetQuery();
    if (!isReset || serverResetQuery === '') return undoing;
    // DISCARD ALL undoes everything, and runs alone only.
    return undoing === '' || DISCARDS_ALL.test(serverResetQuery) ? serverResetQuery : `${undoing};${serverResetQuery}`;
  }

  /** What `query` undoes although no client has done it, and has to be done again: connect_query. Null for nothing. */
  again(query: string): string | null {
    return query !== this.#settings.serverResetQuery && query.includes('RESET ALL') ? this.#connectQuery : null;
  }

  /** How much of what was set for clients is gone when `query` has been run. */
  reach(query: string): 'all' | 'some' {
    return DISCARDS_ALL.test(query) ? 'all' : 'some';
  }
}
