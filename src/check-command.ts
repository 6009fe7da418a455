/**
 * `tsbouncer check FILE`: reads a configuration, asks each PostgreSQL how many connections it has, and says what the pools
 * add up to. It listens on nothing and changes nothing.
 */
import { createLogger } from './base/logger.ts';
import type { Config, DatabaseConfig } from './config/config.ts';
import { formatProblem } from './config/config-error.ts';
import { loadConfig } from './config/load-config.ts';
import { Pooler } from './pooler.ts';
import { demandOf, type ServerDemand } from './server-demand.ts';

const QUESTION = `select current_setting('server_version'), current_setting('max_connections'),
  current_setting('superuser_reserved_connections'), coalesce(current_setting('reserved_connections', true), '0')`;
/** Of a server that does not answer. */
const PATIENCE_MS = 10_000;

export interface CheckResult {
  readonly lines: readonly string[];
  /** Every server could be asked and has room for all pools. */
  readonly isFine: boolean;
}

/** Throws a ConfigError, or the system's error for a file that the configuration names and that cannot be read. */
export async function checkFile(path: string): Promise<CheckResult> {
  const config = loadConfig(path);
  const pooler = new Pooler(config, { log: createLogger('silent') });
  try {
    return await check(config, pooler);
  } finally {
    await pooler.close({ timeoutMs: 0 });
  }
}

async function check(config: Config, pooler: Pooler): Promise<CheckResult> {
  const { databases, fallbackDatabase } = config;
  const count = databases.size + (fallbackDatabase === null ? 0 : 1);
  const users = pooler.userNames;
  const lines = [
    ...config.warnings.map((warning) => `warning: ${formatProblem(warning)}`),
    `${config.path ?? ''}: correct; ${counted(count, 'database')}, ${counted(users.length, 'user')} with a secret`,
  ];
  if (asksForUsers(config)) lines.push('users whom auth_query knows may have pools as well, which are not counted');
  let isFine = true;
  for (const demand of demandOf(config, users)) {
    const answers = await askHosts(demand, users[0] ?? null, pooler);
    const room = 'problem' in answers ? null : answers.room;
    lines.push('', `PostgreSQL ${demand.budgetKey}: ${'problem' in answers ? answers.problem : answers.words}`);
    lines.push(...demand.databases.map((database) => `  ${describeDatabase(database)}`));
    const together = `  together: ${amount(demand.connections)}`;
    if (room === null) {
      isFine = false;
      lines.push(`${together}; whether it has so many is not known`);
    } else if (demand.connections <= room) {
      lines.push(`${together} of ${room}`);
    } else {
      isFine = false;
      lines.push(`${together}, more than the ${room} that it has: max_server_connections can limit them`);
    }
  }
  return { lines, isFine };
}

function asksForUsers({ settings, databases, fallbackDatabase }: Config): boolean {
  return [settings, fallbackDatabase, ...databases.values()].some((entry) => (entry?.authUser ?? null) !== null);
}

interface Answer {
  readonly words: string;
  /** Connections for users who are no superusers. */
  readonly room: number;
}

/** The first database that lets us in speaks for its server. */
async function askHosts(
  { databases }: ServerDemand,
  anyUser: string | null,
  pooler: Pooler,
): Promise<Answer | { readonly problem: string }> {
  let problem = 'not asked, as no user with a secret is known';
  for (const { database } of databases) {
    const user = database.user ?? anyUser;
    if (user === null) continue;
    try {
      return await ask(database, user, pooler);
    } catch (error) {
      problem = `not asked: ${error instanceof Error ? error.message : String(error)}`;
      // Only what has to do with the database or the user may be otherwise for another one.
      if (/refused|no such|timed out|within|ENOTFOUND|EHOSTUNREACH|ECONN/i.test(problem)) break;
    }
  }
  return { problem };
}

async function ask(database: DatabaseConfig, user: string, pooler: Pooler): Promise<Answer> {
  // The fallback's name is no database's.
  const name = database.name === '*' ? (database.dbname ?? 'postgres') : database.name;
  const [row] = await pooler.ask(database, name, user, { sql: QUESTION, timeoutMs: PATIENCE_MS });
  const [version = '', most = '', forSuperusers = '', reserved = ''] = (row ?? []).map((value) => value ?? '');
  const kept = Number(forSuperusers) + Number(reserved);
  const room = Number(most) - kept;
  return { room, words: `version ${version}, max_connections ${most}, ${kept} of them reserved` };
}

function describeDatabase({ database, pools, connections }: ServerDemand['databases'][number]): string {
  const who =
    database.user === null ? `a pool for each of ${counted(pools, 'user')}` : `one pool, of the user ${database.user}`;
  const name = database.name === '*' ? '* (each other name)' : database.name;
  return `${name}: ${who}: ${amount(connections)}`;
}

function amount(connections: number): string {
  return connections === Number.POSITIVE_INFINITY ? 'no limit' : `at most ${counted(connections, 'connection')}`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
