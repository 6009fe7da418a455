/**
 * The values that hold for one pool: a user's win over the database's, which win over those for all. It knows no pool
 * and keeps nothing.
 */
import type { Config, DatabaseConfig } from './config.ts';
import type { LoadBalanceHosts, PoolMode } from './settings.ts';

/** Limits and times of 0 have the meaning that the settings' documentation gives them, mostly "no limit". */
export interface PoolSettings {
  readonly poolMode: PoolMode;
  readonly poolSize: number;
  /** Never more than a limited `poolSize`. */
  readonly minPoolSize: number;
  readonly reservePoolSize: number;
  readonly reservePoolTimeoutMs: number;
  readonly queryTimeoutMs: number;
  readonly queryWaitTimeoutMs: number;
  readonly queryWaitNotifyMs: number;
  readonly idleTransactionTimeoutMs: number;
  readonly transactionTimeoutMs: number;
  readonly clientIdleTimeoutMs: number;
  readonly serverLifetimeMs: number;
  readonly serverIdleTimeoutMs: number;
  readonly loadBalanceHosts: LoadBalanceHosts;
  readonly connectQuery: string | null;
  readonly maxDbConnections: number;
  readonly maxUserConnections: number;
  readonly maxDbClientConnections: number;
  readonly maxUserClientConnections: number;
  /** Of everything that has the same `budgetKey`. */
  readonly maxServerConnections: number;
  readonly budgetKey: string;
}

/**
 * `database` is an entry of `config`, perhaps the fallback. With a forced user `userName` is that one where the pool is
 * meant, and the client's where the client's own limits and timeouts are.
 */
export function resolvePoolSettings(config: Config, database: DatabaseConfig, userName: string): PoolSettings {
  const all = config.settings;
  const user = config.users.get(userName);
  const poolSize = user?.poolSize ?? database.poolSize ?? all.defaultPoolSize;
  const minPoolSize = database.minPoolSize ?? all.minPoolSize;
  const budgetKey = budgetKeyOf(database);
  return Object.freeze({
    poolMode: user?.poolMode ?? database.poolMode ?? all.poolMode,
    poolSize,
    minPoolSize: poolSize === 0 ? minPoolSize : Math.min(minPoolSize, poolSize),
    reservePoolSize: user?.reservePoolSize ?? database.reservePoolSize ?? all.reservePoolSize,
    reservePoolTimeoutMs: all.reservePoolTimeoutMs,
    queryTimeoutMs: user?.queryTimeoutMs ?? all.queryTimeoutMs,
    queryWaitTimeoutMs: user?.queryWaitTimeoutMs ?? database.queryWaitTimeoutMs ?? all.queryWaitTimeoutMs,
    queryWaitNotifyMs: all.queryWaitNotifyMs,
    idleTransactionTimeoutMs: user?.idleTransactionTimeoutMs ?? all.idleTransactionTimeoutMs,
    transactionTimeoutMs: user?.transactionTimeoutMs ?? all.transactionTimeoutMs,
    clientIdleTimeoutMs: user?.clientIdleTimeoutMs ?? all.clientIdleTimeoutMs,
    serverLifetimeMs: database.serverLifetimeMs ?? all.serverLifetimeMs,
    serverIdleTimeoutMs: all.serverIdleTimeoutMs,
    loadBalanceHosts: database.loadBalanceHosts ?? all.loadBalanceHosts,
    connectQuery: database.connectQuery,
    maxDbConnections: database.maxDbConnections ?? all.maxDbConnections,
    maxUserConnections: user?.maxUserConnections ?? all.maxUserConnections,
    maxDbClientConnections: database.maxDbClientConnections ?? all.maxDbClientConnections,
    maxUserClientConnections: user?.maxUserClientConnections ?? all.maxUserClientConnections,
    maxServerConnections: maxServerConnectionsOf(config, budgetKey),
    budgetKey,
  });
}

/** Who shares one PostgreSQL: the same `budget:` name, or the same hosts and port exactly as they are configured. */
export function budgetKeyOf(database: DatabaseConfig): string {
  return database.budget ?? `${database.hosts.join(',')}:${database.port}`;
}

/** One entry that sets it is enough; two that contradict each other are refused when the configuration is read. */
function maxServerConnectionsOf(config: Config, budgetKey: string): number {
  for (const database of allDatabases(config)) {
    if (database.maxServerConnections !== null && budgetKeyOf(database) === budgetKey) {
      return database.maxServerConnections;
    }
  }
  return config.settings.maxServerConnections;
}

/** Every entry, with the fallback as the last. */
function* allDatabases(config: Config): Generator<DatabaseConfig> {
  yield* config.databases.values();
  if (config.fallbackDatabase !== null) yield config.fallbackDatabase;
}
