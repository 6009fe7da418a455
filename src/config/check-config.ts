/**
 * Refuses values that are each right and together cannot be meant. It changes nothing, and says nothing about what is
 * already known to be wrong.
 */
import type { Config, DatabaseConfig } from './config.ts';
import type { Place } from './config-error.ts';
import { quote } from './config-tree.ts';
import { budgetKeyOf } from './pool-settings.ts';
import type { ProblemList } from './problem-list.ts';
import type { ReadSettings } from './read-settings.ts';
import type { ConfigFormat } from './setting.ts';
import type { Settings } from './settings.ts';

export interface ReadConfig {
  readonly format: ConfigFormat;
  readonly config: Config;
  readonly settings: ReadSettings<Settings>;
  readonly databases: readonly ReadSettings<DatabaseConfig>[];
  /** Of the whole. */
  readonly place: Place;
}

export function checkConfig(read: ReadConfig, problems: ProblemList): void {
  const limits = checkBudgets(read, problems);
  // PgBouncer lets the pool's size cap the minimum without a word.
  if (read.format === 'yaml') checkMinimums(read, limits, problems);
  checkPorts(read, problems);
  checkReuse(read, problems);
  checkSockets(read, problems);
  checkTls(read, problems);
  checkAuthDatabases(read, problems);
  checkPasswords(read, problems);
}

function checkPasswords({ databases, place }: ReadConfig, problems: ProblemList): void {
  for (const { values, places } of databases) {
    const at = places.get('password_command') ?? place;
    if (values.password !== null && values.passwordCommand !== null) {
      problems.add(at, 'password and password_command are both given');
    }
  }
}

/** Where auth_query runs must be there, or nobody could log in. */
function checkAuthDatabases({ config, settings, databases, place }: ReadConfig, problems: ProblemList): void {
  const check = (name: string | null, at: Place): void => {
    if (name === null || config.databases.has(name) || config.fallbackDatabase !== null) return;
    problems.add(at, `auth_dbname ${quote(name)} is not one of the databases`);
  };
  check(config.settings.authDbname, settings.places.get('auth_dbname') ?? place);
  for (const { values, places } of databases) check(values.authDbname, places.get('auth_dbname') ?? place);
}

interface Maximum {
  readonly name: string;
  readonly value: number;
}

/**
 * A pool that must keep more connections than it may have. The minimum is held against what applies where it is
 * written: a database with a small pool may well inherit a larger minimum, which its pool's size then caps.
 */
function checkMinimums(
  { config, settings, databases, place }: ReadConfig,
  limits: ReadonlyMap<string, DatabaseConfig>,
  problems: ProblemList,
): void {
  const all = config.settings;
  // What was given wrongly is not held against anything: 0 is no limit.
  const global = (name: string, value: number): Maximum => ({ name, value: settings.invalid.has(name) ? 0 : value });
  const poolSize = global('default_pool_size', all.defaultPoolSize);
  const perDatabase = global('max_db_connections', all.maxDbConnections);
  const perUser = global('max_user_connections', all.maxUserConnections);
  const perServer = global('max_server_connections', all.maxServerConnections);
  const minimumPlace = settings.places.get('min_pool_size') ?? place;
  checkMinimum(all.minPoolSize, [poolSize, perDatabase, perUser, perServer], minimumPlace, problems);
  for (const { values: database, places, invalid } of databases) {
    if (database.minPoolSize === null) continue;
    const own = (name: string, value: number | null | undefined, inherited: Maximum): Maximum => {
      if (invalid.has(name)) return { name, value: 0 };
      return value === null || value === undefined ? inherited : { name, value };
    };
    const maximums = [
      own('pool_size', database.poolSize, poolSize),
      own('max_db_connections', database.maxDbConnections, perDatabase),
      own('max_server_connections', limits.get(budgetKeyOf(database))?.maxServerConnections, perServer),
    ];
    checkMinimum(database.minPoolSize, maximums, places.get('min_pool_size') ?? place, problems);
  }
}

function checkMinimum(minimum: number, maximums: readonly Maximum[], place: Place, problems: ProblemList): void {
  for (const { name, value } of maximums) {
    if (value > 0 && minimum > value) problems.add(place, `min_pool_size (${minimum}) is more than ${name} (${value})`);
  }
}

/** One PostgreSQL has one limit. Returns, by budget, the first database that sets it. */
function checkBudgets({ databases, place }: ReadConfig, problems: ProblemList): ReadonlyMap<string, DatabaseConfig> {
  const first = new Map<string, DatabaseConfig>();
  for (const { values: database, places } of databases) {
    if (database.maxServerConnections === null) continue;
    const key = budgetKeyOf(database);
    const other = first.get(key);
    if (other === undefined) {
      first.set(key, database);
      continue;
    }
    if (other.maxServerConnections === database.maxServerConnections) continue;
    const who = `databases ${quote(other.name)} and ${quote(database.name)} share the PostgreSQL ${quote(key)}`;
    const values = `${other.maxServerConnections} and ${database.maxServerConnections}`;
    problems.add(places.get('max_server_connections') ?? place, `${who} but set max_server_connections to ${values}`);
  }
  return first;
}

/** Without this the pooler would listen, and only then fail. */
function checkPorts({ config, settings, place }: ReadConfig, problems: ProblemList): void {
  const { httpPort, httpListenAddr, listenPort, listenAddr } = config.settings;
  if (httpPort === 0 || httpPort !== listenPort || settings.invalid.has('listen_port')) return;
  const isEverywhere = httpListenAddr === '*' || listenAddr.includes('*');
  if (!isEverywhere && !listenAddr.includes(httpListenAddr)) return;
  problems.add(settings.places.get('http_port') ?? place, `http_port and listen_port are both ${httpPort}`);
}

function checkReuse({ config, settings, place }: ReadConfig, problems: ProblemList): void {
  if (!config.settings.soReuseport || canReusePort(process.versions.node)) return;
  const message = `so_reuseport needs Node.js 22.12 or newer; this is ${process.versions.node}`;
  problems.add(settings.places.get('so_reuseport') ?? place, message);
}

/** `net.Server` takes `reusePort` since 22.12 and 23.1. */
export function canReusePort(nodeVersion: string): boolean {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  return major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
}

function checkSockets({ config, settings, databases, place }: ReadConfig, problems: ProblemList): void {
  const { listenAddr, unixSocketDir } = config.settings;
  if (unixSocketDir !== null || settings.invalid.has('unix_socket_dir')) return;
  if (listenAddr.length === 0 && !settings.invalid.has('listen_addr')) {
    const at = settings.places.get('listen_addr') ?? place;
    problems.add(at, 'there is nothing to listen on: neither listen_addr nor unix_socket_dir is set');
  }
  for (const { values: database, place: at } of databases) {
    if (database.hosts.length > 0) continue;
    problems.add(
      at,
      `database ${quote(database.name)} has no host, and there is no unix_socket_dir to find a socket in`,
    );
  }
}

/** What TLS needs is either all there or not asked for. Whether the files are any good is seen when they are read. */
function checkTls({ config, settings: { places, invalid }, place }: ReadConfig, problems: ProblemList): void {
  const all = config.settings;
  const missing = (name: string, value: string | null): boolean => value === null && !invalid.has(name);
  const add = (name: string, message: string): void => problems.add(places.get(name) ?? place, message);
  const { clientTlsSslmode, serverTlsSslmode } = all;
  if (clientTlsSslmode !== 'disable') {
    for (const [name, value] of [
      ['client_tls_key_file', all.clientTlsKeyFile],
      ['client_tls_cert_file', all.clientTlsCertFile],
    ] as const) {
      if (missing(name, value)) add('client_tls_sslmode', `client_tls_sslmode=${clientTlsSslmode} needs ${name}`);
    }
  }
  if (clientTlsSslmode.startsWith('verify-') && missing('client_tls_ca_file', all.clientTlsCaFile)) {
    add('client_tls_sslmode', `client_tls_sslmode=${clientTlsSslmode} needs client_tls_ca_file`);
  }
  // With the roots that come with Node, anybody's certificate would do.
  if (serverTlsSslmode === 'verify-ca' && missing('server_tls_ca_file', all.serverTlsCaFile)) {
    add('server_tls_sslmode', 'server_tls_sslmode=verify-ca needs server_tls_ca_file (or use verify-full)');
  }
  if ((all.serverTlsKeyFile === null) !== (all.serverTlsCertFile === null)) {
    const name = all.serverTlsKeyFile === null ? 'server_tls_cert_file' : 'server_tls_key_file';
    if (!invalid.has('server_tls_cert_file') && !invalid.has('server_tls_key_file')) {
      add(name, 'server_tls_key_file and server_tls_cert_file need each other');
    }
  }
  const isWeak = ['disable', 'allow', 'prefer'].includes(serverTlsSslmode) && !invalid.has('server_tls_sslmode');
  if (all.serverTlsSslnegotiation === 'direct' && isWeak) {
    add(
      'server_tls_sslnegotiation',
      `server_tls_sslnegotiation=direct needs server_tls_sslmode require, verify-ca or verify-full, not ${serverTlsSslmode}`,
    );
  }
}
