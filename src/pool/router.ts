/**
 * Which pool a client's transaction goes to. Pools are made when they are first needed: one for each database entry (or
 * name that the fallback entry serves) and server user.
 */
import { errors } from '../base/errors.ts';
import type { Config, DatabaseConfig } from '../config/config.ts';
import { resolvePoolSettings } from '../config/pool-settings.ts';
import { LoginGate } from './login-gate.ts';
import { Pool, type PoolOptions } from './pool.ts';
import { PoolTotals } from './pool-totals.ts';
import type { SecretDirectory } from './secret-directory.ts';

export interface RouterOptions
  extends Pick<PoolOptions, 'environment' | 'log' | 'budget' | 'keys' | 'resolver' | 'unguessable' | 'statements'> {
  readonly config: Config;
  readonly secrets: Pick<SecretDirectory, 'forServer'>;
}

/** Nobody is there to hear it. */
const DROPPED: Parameters<Pool['stop']> = [errors.shuttingDown(), 'shutdown'];

export class Router {
  readonly #options: RouterOptions;
  readonly #pools = new Map<string, Pool>();
  readonly #gates = new Map<string, LoginGate>();
  /** What the pools that were dropped had done. */
  readonly dropped = new PoolTotals();
  #stopped: Parameters<Pool['stop']> | null = null;

  constructor(options: RouterOptions) {
    this.#options = options;
    for (const database of options.config.databases.values()) {
      // A forced user is enough to know the pool, and min_pool_size may want it filled before anybody comes.
      if (database.user !== null) this.pool(database, database.name, database.user);
    }
  }

  get pools(): Iterable<Pool> {
    return this.#pools.values();
  }

  get poolCount(): number {
    return this.#pools.size;
  }

  /** The entry that serves `databaseName`, perhaps the fallback; null if there is none. */
  database(databaseName: string): DatabaseConfig | null {
    return this.#options.config.databases.get(databaseName) ?? this.#options.config.fallbackDatabase;
  }

  /** The pool of `databaseName` (which `database` serves) for a client who is `clientUser`. */
  pool(database: DatabaseConfig, databaseName: string, clientUser: string): Pool {
    const userName = database.user ?? clientUser;
    const key = `${databaseName}\0${userName}`;
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const pool = this.#create(database, databaseName, userName);
    this.#pools.set(key, pool);
    if (this.#stopped !== null) pool.stop(...this.#stopped);
    return pool;
  }

  /** Forgets pools that have had neither clients nor servers for long. Both in milliseconds, 0 is never. */
  dropEmpty(nowMs: number, poolIdleTimeoutMs: number, autodbIdleTimeoutMs: number): void {
    const countBefore = this.#pools.size;
    for (const [key, pool] of this.#pools) {
      if (pool.emptySinceMs === null) continue;
      const isAuto = !this.#options.config.databases.has(pool.databaseName);
      const limits = [poolIdleTimeoutMs, isAuto ? autodbIdleTimeoutMs : 0].filter((limit) => limit > 0);
      if (!limits.some((limit) => nowMs - pool.emptySinceMs! >= limit)) continue;
      pool.stop(...DROPPED);
      this.dropped.add(pool);
      this.#pools.delete(key);
    }
    if (this.#pools.size === countBefore) return;
    const living = new Set([...this.#pools.values()].map((pool) => pool.databaseName));
    this.dropped.forgetTrafficUnless((name) => this.#options.config.databases.has(name) || living.has(name));
  }

  /** See `Pool.stop`; pools that are made later are stopped too. */
  stop(...how: Parameters<Pool['stop']>): void {
    this.#stopped = how;
    for (const pool of this.#pools.values()) pool.stop(...how);
  }

  #create(database: DatabaseConfig, databaseName: string, userName: string): Pool {
    const { config, secrets, ...shared } = this.#options;
    const poolSettings = resolvePoolSettings(config, database, userName);
    return new Pool({
      ...shared,
      settings: config.settings,
      poolSettings,
      database,
      databaseName,
      userName,
      gate: this.#gate(poolSettings.budgetKey),
      credentials: () => ({
        user: userName,
        database: database.dbname ?? databaseName,
        secret: () => secrets.forServer(database, databaseName, userName),
        requireAuth: database.serverRequireAuth ?? config.settings.serverRequireAuth,
        parameters: startupParameters(database),
      }),
    });
  }

  #gate(budgetKey: string): LoginGate {
    const gate = this.#gates.get(budgetKey) ?? new LoginGate(this.#options.config.settings.serverLoginConcurrency);
    this.#gates.set(budgetKey, gate);
    return gate;
  }
}

/** What the database entry says that its sessions begin with. */
function startupParameters({ clientEncoding, datestyle, timezone, applicationName }: DatabaseConfig) {
  const given: [string, string][] = [];
  if (clientEncoding !== null) given.push(['client_encoding', clientEncoding]);
  if (datestyle !== null) given.push(['datestyle', datestyle]);
  if (timezone !== null) given.push(['timezone', timezone]);
  if (applicationName !== null) given.push(['application_name', applicationName]);
  return given;
}
