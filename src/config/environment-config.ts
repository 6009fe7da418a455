/**
 * A configuration out of the environment alone: the pooler beside an application, with the same DATABASE_URL. It knows no
 * file.
 *
 * Clients prove themselves with the user and password of the URL, as they would to PostgreSQL: the application changes host
 * and port and nothing else, and nobody gets in who could not get in there. Without a password there is nothing to prove:
 * then it listens on the own machine only, unless it is told how else clients are to be known.
 */
import { resolve } from 'node:path';
import type { Config } from './config.ts';
import { ConfigError, type ConfigProblem, type Place } from './config-error.ts';
import type { MappingEntry, MappingNode, TreeNode } from './config-tree.ts';
import { parseConnectionString } from './connection-string.ts';
import { environmentPlace, type Variables, withGiven } from './given-settings.ts';
import { ProblemList } from './problem-list.ts';
import { readConfig } from './read-config.ts';
import { aliases, sections } from './settings.ts';

/** What may be in a URL and asks for security: to ignore one would be to break its promise. */
const SECURITY = /^(?:ssl|gss|krb|channel_binding|require_auth|requirepeer)/;
/** Content with a connection in the clear. */
const NO_DEMAND = new Set(['disable', 'allow', 'prefer']);
const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/;

interface Parameter {
  readonly key: string;
  readonly value: string;
  readonly place: Place;
}

/**
 * Null if the environment names no server: DATABASE_URL, or PGHOST with PGPORT, PGUSER, PGPASSWORD, PGDATABASE and
 * PGSSLMODE. `given` are the settings of the main section, from wherever they come. Throws a ConfigError.
 */
export function configFromEnvironment(variables: Variables, given: readonly MappingEntry[] = []): Config | null {
  const source = ['DATABASE_URL', 'PGHOST'].find((name) => (variables[name] ?? '') !== '');
  if (source === undefined) return null;
  const place = environmentPlace(source);
  const problems = new ProblemList();
  const warnings: ConfigProblem[] = [];
  const parameters = new Map(parametersOf(variables, place).map((parameter) => [parameter.key, parameter]));
  const user = parameters.get('user')?.value ?? '';
  if (user === '') throw problemAt(place, 'no user: write postgres://user:password@host/database, or set PGUSER');
  const password = parameters.get('password')?.value ?? null;
  const name = parameters.get('dbname')?.value ?? user;

  const database: MappingEntry[] = [];
  for (const parameter of parameters.values()) {
    const { key, value } = parameter;
    if (key === 'sslmode' && NO_DEMAND.has(value)) continue;
    if (isSetting(key) || SECURITY.test(key)) database.push(entry(key, value, parameter.place));
    else warnings.push(Object.freeze({ ...parameter.place, message: `the parameter "${key}" is left to the client` }));
  }
  const isTold = given.some(({ key }) => key === 'auth_type');
  const authType = entry('auth_type', password === null ? 'any' : 'scram-sha-256', place);
  const users = password === null ? [] : [mapping(user, [entry('password', password, place)], place)];
  const root: TreeNode = {
    kind: 'mapping',
    place,
    entries: [
      mapping('pgbouncer', [authType], place),
      mapping('databases', [mapping(name, database, place)], place),
      mapping('users', users, place),
    ],
  };
  const context = { format: 'yaml', folder: resolve('.'), problems, warnings, interpolation: null } as const;
  const config = readConfig(withGiven(root, given), null, context);
  if (password === null && !isTold) checkLoopback(config, place);
  checkCircle(config, name, place);
  return config;
}

function parametersOf(variables: Variables, place: Place): Parameter[] {
  const names = {
    PGHOST: 'host',
    PGPORT: 'port',
    PGUSER: 'user',
    PGPASSWORD: 'password',
    PGDATABASE: 'dbname',
    PGSSLMODE: 'sslmode',
  };
  const single: Parameter[] = [];
  for (const [variable, key] of Object.entries(names)) {
    const value = variables[variable] ?? '';
    if (value !== '') single.push({ key, value, place: environmentPlace(variable) });
  }
  const url = variables['DATABASE_URL'] ?? '';
  if (url === '') return single;
  const parsed = parseConnectionString(url);
  if ('problem' in parsed) throw problemAt(place, `bad connection string: ${parsed.problem}`);
  // As for libpq: the variables stand in for what the URL does not say.
  return [...single, ...parsed.parameters.map((parameter) => ({ ...parameter, place }))];
}

function isSetting(key: string): boolean {
  const name = aliases.get(key) ?? key;
  return sections.databases.some((setting) => setting.name === name);
}

function entry(key: string, value: string, place: Place): MappingEntry {
  return { key, place, value: { kind: 'scalar', place, value, text: value, reference: referenceTo(place) } };
}

function mapping(key: string, entries: readonly MappingEntry[], place: Place): MappingEntry {
  const value: MappingNode = { kind: 'mapping', place, entries };
  return { key, place, value };
}

function referenceTo({ file }: Place): string {
  return `\${${file?.split(' ').at(-1) ?? ''}}`;
}

function checkLoopback({ settings }: Config, place: Place): void {
  if (settings.listenAddr.every((address) => LOOPBACK.test(address))) return;
  const what = 'listen_addr lets other machines in, and there is no password that clients could be asked for';
  throw problemAt(place, `${what}: give one, or say with TSBOUNCER_AUTH_TYPE how clients are known`);
}

/** The application's URL, which already points to the pooler. */
function checkCircle({ settings, databases }: Config, name: string, place: Place): void {
  const database = databases.get(name);
  if (database === undefined || database.port !== settings.listenPort) return;
  if (!database.hosts.every((host) => LOOPBACK.test(host) || settings.listenAddr.includes(host))) return;
  throw problemAt(place, `the pooler would connect to itself: it listens on port ${database.port} of this machine`);
}

function problemAt(place: Place, message: string): ConfigError {
  return new ConfigError([Object.freeze({ ...place, message })]);
}
