/** The configurations of PgBouncer and of tsbouncer for a scenario, as alike as they can be. It starts nothing. */
import { chown, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunUser } from '../src/embedded-postgres-install.ts';
import type { Endpoint } from './raw-client.ts';
import type { Login } from './scenarios.ts';

export interface PoolerSite {
  readonly directory: string;
  readonly server: Endpoint;
  readonly login: Login;
  /** Goes into the auth_file where `login` says so. */
  readonly verifier: string | null;
  readonly port: number;
  /** Who has to read the files. */
  readonly user: RunUser;
}

/** What clients of a pooler ask for. PgBouncer's file cannot hold every name that a real database may have. */
export const POOLED_DATABASE = 'bench';

/** PgBouncer's default, and ours. */
const POOL_SIZE = 20;
const MAX_CLIENTS = 10_000;

/** Returns the path of pgbouncer.ini. What is not named here has its default, in both of them. */
export async function writePgBouncerFiles(site: PoolerSite): Promise<string> {
  const { server, login, port } = site;
  const authFile = await writeUserList(site);
  const database = { host: server.host, port: String(server.port), dbname: server.database, ...serverLogin(site) };
  const connection = Object.entries(database).map(([key, value]) => `${key}='${value.replaceAll("'", "''")}'`);
  const lines = [
    '[databases]',
    `${POOLED_DATABASE} = ${connection.join(' ')}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'pool_mode = transaction',
    `default_pool_size = ${POOL_SIZE}`,
    `max_client_conn = ${MAX_CLIENTS}`,
    `auth_type = ${authType(login)}`,
    `auth_file = ${authFile}`,
  ];
  return writeFor(site, 'pgbouncer.ini', `${lines.join('\n')}\n`);
}

/** Returns the path of the YAML file. */
export async function writeTsbouncerFiles(site: PoolerSite): Promise<string> {
  const { server, login, port } = site;
  const config = {
    pgbouncer: {
      listen_addr: '127.0.0.1',
      listen_port: port,
      pool_mode: 'transaction',
      default_pool_size: POOL_SIZE,
      max_client_conn: MAX_CLIENTS,
      // PgBouncer has no bound of its own for clients that are logging in.
      max_login_clients: MAX_CLIENTS,
      auth_type: authType(login),
      auth_file: await writeUserList(site),
    },
    databases: {
      [POOLED_DATABASE]: { host: server.host, port: server.port, dbname: server.database, ...serverLogin(site) },
    },
  };
  // JSON is YAML.
  return writeFor(site, 'tsbouncer.yaml', `${JSON.stringify(config, null, 2)}\n`);
}

function authType(login: Login): string {
  return login === 'trust' ? 'trust' : 'scram-sha-256';
}

/** tsbouncer cannot log in to the server with a verifier, so then the database's entry says how. */
function serverLogin({ server, login }: PoolerSite): Readonly<Record<string, string>> {
  return login === 'scram-verifier' ? { user: server.user, password: server.password } : {};
}

function writeUserList(site: PoolerSite): Promise<string> {
  const { user, password } = site.server;
  const secret = site.login === 'scram-verifier' ? (site.verifier ?? '') : password;
  const quoted = [user, secret].map((text) => `"${text.replaceAll('"', '""')}"`);
  return writeFor(site, 'users.txt', `${quoted.join(' ')}\n`);
}

/** For nobody else: the passwords may be those of a real server. */
async function writeFor({ directory, user }: PoolerSite, name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text, { mode: 0o600 });
  if (user !== null) await chown(path, user.uid, user.gid);
  return path;
}
