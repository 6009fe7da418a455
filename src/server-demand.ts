/**
 * What the pools of a configuration add up to on each PostgreSQL: the most server connections that there can be at a time.
 * It asks nobody; it knows only what is configured.
 */
import type { Config, DatabaseConfig } from './config/config.ts';
import { budgetKeyOf, resolvePoolSettings } from './config/pool-settings.ts';

/** Infinite where nothing limits it. */
interface DatabaseDemand {
  readonly database: DatabaseConfig;
  readonly pools: number;
  readonly connections: number;
}

/** All databases that share one PostgreSQL. */
export interface ServerDemand {
  readonly budgetKey: string;
  readonly databases: readonly DatabaseDemand[];
  /** With the limits per user and per server; the fallback counts as one database. */
  readonly connections: number;
}

/** `userNames`: who may come to a database without a forced user. */
export function demandOf(config: Config, userNames: readonly string[]): ServerDemand[] {
  const groups = new Map<string, DatabaseConfig[]>();
  const { databases, fallbackDatabase } = config;
  for (const database of [...databases.values(), ...(fallbackDatabase === null ? [] : [fallbackDatabase])]) {
    const key = budgetKeyOf(database);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [database]);
    else group.push(database);
  }
  return [...groups].map(([budgetKey, members]) => demandOfGroup(config, budgetKey, members, userNames));
}

function demandOfGroup(
  config: Config,
  budgetKey: string,
  members: readonly DatabaseConfig[],
  userNames: readonly string[],
): ServerDemand {
  const perUser = new Map<string, { connections: number; readonly limit: number }>();
  let serverLimit = Number.POSITIVE_INFINITY;
  const databases = members.map((database): DatabaseDemand => {
    const users = database.user === null ? userNames : [database.user];
    let connections = 0;
    let limit = Number.POSITIVE_INFINITY;
    for (const user of users) {
      const settings = resolvePoolSettings(config, database, user);
      const pool = unlimited(settings.poolSize) + settings.reservePoolSize;
      connections += pool;
      limit = unlimited(settings.maxDbConnections);
      serverLimit = unlimited(settings.maxServerConnections);
      const sum = perUser.get(user) ?? { connections: 0, limit: unlimited(settings.maxUserConnections) };
      sum.connections += pool;
      perUser.set(user, sum);
    }
    return { database, pools: users.length, connections: Math.min(connections, limit) };
  });
  const byDatabase = sum(databases.map(({ connections }) => connections));
  const byUser = sum([...perUser.values()].map(({ connections, limit }) => Math.min(connections, limit)));
  return { budgetKey, databases, connections: Math.min(byDatabase, byUser, serverLimit) };
}

function unlimited(limit: number): number {
  return limit === 0 ? Number.POSITIVE_INFINITY : limit;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
