/**
 * What of a pool comes from the configuration, and what follows from it: where its servers are, in which scopes of the
 * budget they count, and whether a reload makes them ones that the pool would not open any more. It knows no pool.
 */
import type { DatabaseConfig } from '../config/config.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import type { BudgetScope } from '../server/lease.ts';
import type { HostFinderOptions } from './host-finder.ts';
import type { LoginGate } from './login-gate.ts';

/** What a reload can change. */
export interface PoolConfig {
  readonly settings: Settings;
  readonly poolSettings: PoolSettings;
  readonly database: DatabaseConfig;
  /** Who the pool is at the server. */
  readonly userName: string;
  readonly gate: LoginGate;
}

export function placesOf({ database: { hosts, port }, poolSettings }: PoolConfig): HostFinderOptions {
  return { hosts, port, policy: poolSettings.loadBalanceHosts };
}

export function scopesOf(databaseName: string, { userName, poolSettings }: PoolConfig): readonly BudgetScope[] {
  const { budgetKey, maxDbConnections, maxUserConnections, maxServerConnections } = poolSettings;
  return [
    { key: `database ${databaseName}`, limit: maxDbConnections },
    { key: `user ${userName}`, limit: maxUserConnections },
    { key: `postgres ${budgetKey}`, limit: maxServerConnections },
  ];
}

/** They say how many servers there are and how they are used, not what they are. */
const HARMLESS: ReadonlySet<string> = new Set<keyof DatabaseConfig>([
  'name',
  'poolMode',
  'poolSize',
  'minPoolSize',
  'reservePoolSize',
  'maxDbConnections',
  'maxDbClientConnections',
  'maxServerConnections',
  'queryWaitTimeoutMs',
  'serverLifetimeMs',
  'loadBalanceHosts',
  // Who may come in, and what a login needs; those that are in have proven it.
  'authUser',
  'authQuery',
  'authDbname',
  // What counts is what it comes to: see below.
  'budget',
]);

/** Settings of the section `pgbouncer` that say how servers are connected to. */
const isAboutServers = (key: string): boolean =>
  key.startsWith('serverTls') || key === 'serverChannelBinding' || key === 'serverRequireAuth';

/** What is not known to be harmless does: a setting that is added later is not forgotten here. */
export function needsOtherServers(before: PoolConfig, after: PoolConfig): boolean {
  if (before.userName !== after.userName) return true;
  // A session that was kept for one client may hold what another one must not see.
  if (before.poolSettings.poolMode !== after.poolSettings.poolMode) return true;
  // Their leases are counted where they were taken.
  if (before.poolSettings.budgetKey !== after.poolSettings.budgetKey) return true;
  return (
    differs(before.database, after.database, (key) => !HARMLESS.has(key)) ||
    differs<Settings>(before.settings, after.settings, isAboutServers)
  );
}

/** Values are scalars, or lists of them. */
function differs<Values extends object>(before: Values, after: Values, counts: (key: string) => boolean): boolean {
  const old = new Map<string, unknown>(Object.entries(before));
  return Object.entries(after).some(([key, value]) => counts(key) && String(value) !== String(old.get(key)));
}
