/**
 * What the console does to databases: pause, resume, reconnect, kill, disable. It finds the pools that are meant and
 * remembers what must hold for those that are made later; it knows no command and no client.
 */
import type { ErrorReport } from '../base/errors.ts';
import type { AuthQueries } from './auth-queries.ts';
import type { Pool } from './pool.ts';
import type { Router } from './router.ts';

export class DatabaseControl {
  readonly #router: Router;
  /** What has connections of its own to databases. */
  readonly #queries: Pick<AuthQueries, 'replace' | 'alive' | 'outdated'>;

  constructor(router: Router, queries: Pick<AuthQueries, 'replace' | 'alive' | 'outdated'>) {
    this.#router = router;
    this.#queries = queries;
  }

  /** Whether an entry, perhaps the fallback, serves `name`. */
  isKnown(name: string): boolean {
    return this.#router.database(name) !== null;
  }

  get isEverythingPaused(): boolean {
    return this.#router.states.isEverythingPaused;
  }

  /** How many are paused by their own names. */
  get pausedCount(): number {
    return this.#router.states.pausedCount;
  }

  isPaused(name: string): boolean {
    return this.#router.states.isPaused(name);
  }

  /** `name` null: everything, also what is added later. */
  pause(name: string | null): void {
    const { states } = this.#router;
    if (name === null) states.isEverythingPaused = true;
    else states.setPaused(name, true);
    for (const pool of this.#pools(name)) pool.turnover.pause();
    this.#queries.replace(name);
  }

  /** `name` null undoes only the pause of everything, as in PgBouncer. */
  resume(name: string | null): void {
    const { states } = this.#router;
    if (name === null) states.isEverythingPaused = false;
    else states.setPaused(name, false);
    for (const pool of this.#pools(name)) if (!states.isStopped(pool.databaseName)) pool.turnover.resume();
  }

  /** Servers that a pause of `name` still waits for. */
  pausing(name: string | null): number {
    return sum(this.#pools(name), ({ turnover }) => turnover.pausing) + this.#queries.alive(name);
  }

  reconnect(name: string | null): void {
    for (const pool of this.#pools(name)) pool.reconnect();
    this.#queries.replace(name);
  }

  /** Servers that are to be closed as soon as they are free, and are still there. */
  outdated(name: string | null): number {
    return sum(this.#pools(name), ({ turnover }) => turnover.outdated) + this.#queries.outdated(name);
  }

  setDisabled(name: string, isDisabled: boolean): void {
    this.#router.states.setDisabled(name, isDisabled);
  }

  /** Ends all servers, and logins that wait for one, and pauses the databases by their names. */
  kill(name: string | null, report: ErrorReport): void {
    const pools = this.#pools(name);
    const names = new Set([...(name === null ? [] : [name]), ...pools.map(({ databaseName }) => databaseName)]);
    for (const each of names) this.pause(each);
    for (const pool of pools) pool.kill(report, 'database_removed');
  }

  #pools(name: string | null): readonly Pool[] {
    return [...this.#router.pools].filter(({ databaseName }) => name === null || databaseName === name);
  }
}

function sum(pools: readonly Pool[], count: (pool: Pool) => number): number {
  return pools.reduce((total, pool) => total + count(pool), 0);
}
