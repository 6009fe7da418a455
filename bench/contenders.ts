/** The four that are compared, and how each of them is started. It does not know what is then asked of them. */
import type { ChildProcess } from 'node:child_process';
import { chmod, mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chooseUser, type RunUser } from '../src/embedded-postgres-install.ts';
import type { ContenderName } from './bench-result.ts';
import { type ChildProcesses, lastWords } from './child-processes.ts';
import type { CommandPrefix } from './cpu-pinning.ts';
import { POOLED_DATABASE, type PoolerSite, writePgBouncerFiles, writeTsbouncerFiles } from './pooler-files.ts';
import type { PgBouncer } from './programs.ts';
import { type Endpoint, RawClient } from './raw-client.ts';
import type { Login } from './scenarios.ts';

export interface Contender {
  /** Where clients go. */
  readonly endpoint: Endpoint;
  /** The process whose CPU and memory count; null for `direct`. */
  readonly pid: number | null;
  stop(): Promise<void>;
}

export interface ContenderSite {
  readonly children: ChildProcesses;
  readonly directory: string;
  readonly server: Endpoint;
  readonly login: Login;
  readonly pgbouncer: PgBouncer | null;
  /** dist/main.js. */
  readonly tsbouncer: string;
  /** The server's verifier of the endpoint's password; null: nobody needs it. */
  readonly verifier: string | null;
  /** What comes before the command of a pooler. */
  readonly prefix: CommandPrefix;
}

const HOST = '127.0.0.1';
const RELAY = fileURLToPath(new URL('./relay.js', import.meta.url));
const START_TIMEOUT_MS = 15_000;
const POLL_MS = 20;
const MOST_TRIES = 3;

/** Resolves when a client can log in and ask. Each start is a fresh process. */
export async function startContender(name: ContenderName, site: ContenderSite): Promise<Contender> {
  switch (name) {
    case 'direct':
      return { endpoint: site.server, pid: null, stop: () => Promise.resolve() };
    case 'relay':
      return startRelay(site);
    case 'pgbouncer':
      return startPgBouncer(site);
    case 'tsbouncer':
      return startTsbouncer(site);
  }
}

async function startRelay({ children, directory, server, prefix }: ContenderSite): Promise<Contender> {
  const logPath = join(directory, 'relay.log');
  const [file, ...args] = [...prefix, process.execPath, RELAY, server.host, String(server.port)];
  const child = await children.start(file, args, { logPath, ipc: true });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (address: { readonly port: number }) => resolve(address.port));
    child.once('exit', () => reject(new Error(`the relay did not start: ${lastWords(logPath)}`)));
  });
  return { endpoint: { ...server, host: HOST, port }, pid: child.pid!, stop: () => children.end(child) };
}

async function startPgBouncer(site: ContenderSite): Promise<Contender> {
  const { pgbouncer } = site;
  if (pgbouncer === null) throw new Error('there is no PgBouncer');
  // It refuses to run as root.
  return startPooler(site, 'pgbouncer', await chooseUser(undefined), async (files) => {
    return [pgbouncer.path, await writePgBouncerFiles(files)];
  });
}

function startTsbouncer(site: ContenderSite): Promise<Contender> {
  return startPooler(site, 'tsbouncer', null, async (files) => {
    return [process.execPath, site.tsbouncer, await writeTsbouncerFiles(files)];
  });
}

/** `command` writes what the program has to read, and says how it is called. */
async function startPooler(
  { children, directory, server, login, verifier, prefix }: ContenderSite,
  name: string,
  user: RunUser,
  command: (files: PoolerSite) => Promise<readonly string[]>,
): Promise<Contender> {
  for (let tries = 1; ; tries++) {
    // A folder of its own for each start, so that no file of another user is in the way.
    const own = await mkdtemp(join(directory, 'pooler-'));
    await chmod(own, 0o711);
    const logPath = join(own, 'pooler.log');
    const port = await findFreePort();
    const [file, ...args] = [...prefix, ...(await command({ directory: own, server, login, verifier, port, user }))];
    const child = await children.start(file!, args, { logPath, user });
    const endpoint = { ...server, host: HOST, port, database: POOLED_DATABASE };
    const problem = await untilServing(endpoint, child);
    if (problem === null) return { endpoint, pid: child.pid!, stop: () => children.end(child) };
    await children.end(child);
    const log = lastWords(logPath);
    // Another process may have taken the port since we found it free.
    if (tries === MOST_TRIES || !/in use/i.test(log)) {
      throw new Error(`${name} did not start: ${problem}; its log: ${log}`);
    }
  }
}

/** Null when a client was served, else the last reason why none was. */
async function untilServing(endpoint: Endpoint, child: ChildProcess): Promise<string | null> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    // Unreferenced, for it must not keep us alive when it has lost the race.
    const late = sleep(START_TIMEOUT_MS, 'it does not answer', { ref: false });
    const problem = await Promise.race([tryOut(endpoint), late]);
    if (child.exitCode !== null || child.signalCode !== null) return 'it has ended';
    if (problem === null || performance.now() > deadline) return problem;
    await sleep(POLL_MS);
  }
}

/** Null if a client was served. */
async function tryOut(endpoint: Endpoint): Promise<string | null> {
  try {
    const client = await RawClient.login(endpoint);
    await client.query('SELECT 1');
    await client.close();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** PgBouncer cannot be told to take any. */
function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, HOST, () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0));
    });
  });
}
