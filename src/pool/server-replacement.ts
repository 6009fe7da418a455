/**
 * Whether a reload makes the servers of a pool ones that it would not open any more. What is not known to be harmless
 * does: a setting that is added later is not forgotten here.
 */
import type { DatabaseConfig } from '../config/config.ts';
import type { Settings } from '../config/settings.ts';
import type { PoolConfig } from './pool.ts';

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
  // What counts is what it comes to: see below.
  'budget',
]);

/** Settings of the section `pgbouncer` that say how servers are connected to. */
const isAboutServers = (key: string): boolean => key.startsWith('serverTls');

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
