/**
 * Which pool a client's transaction goes to. Pools are made when they are first needed: one for each database entry (or
 * name that the fallback entry serves) and server user.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import { type ErrorReport, errors } from '../base/errors.ts';
import type { Config, DatabaseConfig } from '../config/config.ts';
import { resolvePoolSettings } from '../config/pool-settings.ts';
import { DatabaseStates } from './database-states.ts';
import { LoginGate } from './login-gate.ts';
import { Pool, type PoolEnd } from './pool.ts';
import type { PoolConfig } from './pool-config.ts';
import type { PoolOptions } from './pool-options.ts';
import { PoolTotals } from './pool-totals.ts';
import type { SecretDirectory } from './secret-directory.ts';

export interface RouterOptions
  extends Pick<
    PoolOptions,
    'environment' | 'log' | 'budget' | 'keys' | 'resolver' | 'unguessable' | 'statements' | 'security'
  > {
  /** To begin with. */
  readonly config: Config;
  readonly secrets: Pick<SecretDirectory, 'forServer'>;
}

/** Nobody is there to hear it. */
const DROPPED: PoolEnd = { report: errors.shuttingDown(), reason: 'shutdown' };

export class Router {
  readonly #options: RouterOptions;
  #config: Config;
  readonly #pools = new Map<string, Pool>();
  /** Those that a reload has ended, until their last client and server are gone. */
  readonly #retired = new Set<Pool>();
  readonly #gates = new Map<string, LoginGate>();
  /** What the pools that were dropped had done. */
  readonly dropped = new PoolTotals();
  readonly states = new DatabaseStates();
  #stopped: PoolEnd | null = null;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#makeForcedPools();
  }

  /** Those that a reload has ended come last. */
  get pools(): Iterable<Pool> {
    return [...this.#pools.values(), ...this.#retired];
  }

  get poolCount(): number {
    return this.#pools.size + this.#retired.size;
  }

  /** Whether all pools serve no more. */
  get isStopped(): boolean {
    return this.#stopped !== null;
  }

  /**
   * Goes on with another configuration. A pool whose database is gone serves no more (`Pool.stopped` says what its clients
   * are to be told), and neither does one whose clients have got, or lost, a forced user: who they are at the server
   * decides which pool is theirs.
   */
  configure(config: Config): void {
    this.#config = config;
    const before = [...this.#pools.values()];
    this.#pools.clear();
    for (const pool of before) {
      const database = this.database(pool.databaseName);
      if (database === null) this.#retire(pool, 'database_removed', errors.databaseRemoved());
      else if ((database.user === null) !== (pool.database.user === null)) {
        this.#retire(pool, 'config_changed', errors.databaseChanged());
      } else {
        const userName = database.user ?? pool.userName;
        this.#pools.set(keyOf(pool.databaseName, userName), pool);
        pool.configure(this.#poolConfig(database, userName));
      }
    }
    this.#makeForcedPools();
    const pools = [...this.pools];
    const living = new Set(pools.map(({ settings }) => settings.budgetKey));
    for (const [key, gate] of this.#gates) {
      if (!living.has(key)) this.#gates.delete(key);
      // Whoever waits there goes in at once, so all pools must know how many they may be.
      gate.configure(config.settings.serverLoginConcurrency);
    }
    this.#options.budget.reconsider(pools);
    for (const pool of pools) pool.tick(this.#options.environment.now());
  }

  /** The entry that serves `databaseName`, perhaps the fallback; null if there is none. */
  database(databaseName: string): DatabaseConfig | null {
    return this.#config.databases.get(databaseName) ?? this.#config.fallbackDatabase;
  }

  /** The pool of `databaseName` (which `database` serves) for a client who is `clientUser`. */
  pool(database: DatabaseConfig, databaseName: string, clientUser: string): Pool {
    const userName = database.user ?? clientUser;
    const key = keyOf(databaseName, userName);
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const pool = this.#create(database, databaseName, userName);
    this.#pools.set(key, pool);
    if (this.states.isStopped(databaseName)) pool.turnover.pause();
    if (this.#stopped !== null) pool.stop(this.#stopped, 'shutdown');
    return pool;
  }

  /** Forgets pools that have had neither clients nor servers for long. Both in milliseconds, 0 is never. */
  dropEmpty(nowMs: number, poolIdleTimeoutMs: number, autodbIdleTimeoutMs: number): void {
    const countBefore = this.poolCount;
    for (const pool of this.#retired) {
      if (pool.clients > 0 || !pool.isEmpty) continue;
      this.dropped.add(pool);
      this.#retired.delete(pool);
    }
    for (const [key, pool] of this.#pools) {
      if (pool.emptySinceMs === null) continue;
      const isAuto = !this.#config.databases.has(pool.databaseName);
      const limits = [poolIdleTimeoutMs, isAuto ? autodbIdleTimeoutMs : 0].filter((limit) => limit > 0);
      if (!limits.some((limit) => nowMs - pool.emptySinceMs! >= limit)) continue;
      pool.stop(DROPPED, 'shutdown');
      this.dropped.add(pool);
      this.#pools.delete(key);
    }
    if (this.poolCount === countBefore) return;
    const living = new Set([...this.pools].map((pool) => pool.databaseName));
    this.dropped.forgetTrafficUnless((name) => this.#config.databases.has(name) || living.has(name));
  }

  /** See `Pool.stop`; pools that are made later are stopped too. */
  stop(report: ErrorReport, reason: ClientCloseReason): void {
    this.#stopped = { report, reason };
    for (const pool of this.pools) pool.stop(this.#stopped, 'shutdown');
  }

  #retire(pool: Pool, reason: 'database_removed' | 'config_changed', report: ErrorReport): void {
    pool.stop({ report, reason }, reason);
    this.#retired.add(pool);
  }

  /** A forced user is enough to know the pool, and min_pool_size may want it filled before anybody comes. */
  #makeForcedPools(): void {
    for (const database of this.#config.databases.values()) {
      if (database.user !== null) this.pool(database, database.name, database.user);
    }
  }

  #create(database: DatabaseConfig, databaseName: string, userName: string): Pool {
    const { config: _, secrets, ...shared } = this.#options;
    return new Pool({
      ...shared,
      ...this.#poolConfig(database, userName),
      databaseName,
      credentials: (now) => ({
        user: now.userName,
        database: now.database.dbname ?? databaseName,
        secret: () => secrets.forServer(now.database, databaseName, now.userName),
        requireAuth: now.database.serverRequireAuth ?? now.settings.serverRequireAuth,
        channelBinding: now.settings.serverChannelBinding,
        parameters: startupParameters(now.database),
      }),
    });
  }

  #poolConfig(database: DatabaseConfig, userName: string): PoolConfig {
    const poolSettings = resolvePoolSettings(this.#config, database, userName);
    const { settings } = this.#config;
    return { settings, poolSettings, database, userName, gate: this.#gate(poolSettings.budgetKey) };
  }

  #gate(budgetKey: string): LoginGate {
    const gate = this.#gates.get(budgetKey) ?? new LoginGate(this.#config.settings.serverLoginConcurrency);
    this.#gates.set(budgetKey, gate);
    return gate;
  }
}

/** No name of a database or a user holds a NUL. */
function keyOf(databaseName: string, userName: string): string {
  return `${databaseName}\0${userName}`;
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
