/**
 * Runs a PostgreSQL of our own as a child process: makes its data on the first start, waits until it accepts
 * connections, stops it. It knows nothing of the pooler, and of SQL not a word.
 *
 * A folder of ours (`directory`) holds `data/`, which belongs to the user that PostgreSQL runs as, and beside it what
 * that user only reads: `pg_hba.conf`, `postgres.log`, `owner.pid`. Decisions, and why:
 * - PostgreSQL leads a process group of its own, for Ctrl-C goes to the whole group of a terminal, and the pooler in
 *   front has to be drained first.
 * - If we die without a word (kill -9), a shell that waits for the end of our pipe shuts it down in the fast way.
 * - A postmaster that is left over all the same is stopped at the next start and never reused: it may run with other
 *   settings. If the process that started it is alive, that process is using it, and the start fails.
 */
import type { ChildProcess } from 'node:child_process';
import { createWriteStream, existsSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  canEnter,
  cannotSwitchTo,
  chooseUser,
  EmbeddedPostgresError,
  findPackage,
  type Programs,
  prepareProgramsFor,
  type RunUser,
  runAs,
  spawnAs,
  systemErrorCode,
} from './embedded-postgres-install.ts';
import { Listener } from './net/listener.ts';

const HOST = '127.0.0.1';

/** How often a start is tried again that failed for a reason that goes away by itself; each try takes some 20 ms. */
const MOST_TRIES = 100;

export type StopMode = 'smart' | 'fast' | 'immediate';

const STOP_SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

export interface EmbeddedPostgresOptions {
  /** Absolute. Made if it is not there; its data is kept from start to start. */
  readonly directory: string;
  /** The npm package with the programs; by default that of this platform. */
  readonly packageDirectory?: string;
  /** Where the programs are copied to if they cannot be run where npm has put them; by default `directory`. */
  readonly installDirectory?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  /** Only for the first start, as is `password`. */
  readonly superuser?: string;
  readonly password?: string;
  /** How everyone logs in whom `hba` does not name. */
  readonly authMethod?: 'trust' | 'scram-sha-256' | 'md5';
  /** Lines of pg_hba.conf that go before our own. */
  readonly hba?: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
  /** By default `postgres.log` in the folder. */
  readonly logPath?: string;
  /** Hears what the user should know, such as that the data is elsewhere. */
  readonly notice?: (line: string) => void;
}

export interface EmbeddedPostgres {
  readonly host: string;
  readonly port: number;
  /** As in `18.4`. */
  readonly version: string;
  /** Where the data and the log are: the folder asked for, or the one taken in its place. */
  readonly directory: string;
  /** Whether this start has made the data. */
  readonly created: boolean;
  /** The postmaster. */
  readonly process: ChildProcess;
  /** Fulfilled when the postmaster is gone, whoever ended it. */
  readonly exited: Promise<void>;
  /** By default fast: sessions are cut, nothing is lost. Safe to call again, also with a harsher mode. */
  stop(mode?: StopMode): Promise<void>;
}

interface Site {
  readonly directory: string;
  readonly data: string;
  readonly user: RunUser;
  readonly programs: Programs;
}

export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { directory, user } = await settle(options.directory, options.notice);
  const programs = await prepareProgramsFor(
    user,
    options.packageDirectory ?? findPackage(),
    options.installDirectory ?? directory,
  );
  const site: Site = { directory, data: join(directory, 'data'), user, programs };
  const created = await ensureData(site, options);
  const ignoredPid = created ? null : await clearLeftover(site);
  const hba = join(directory, 'pg_hba.conf');
  await writeFile(hba, hbaFile(options));
  // Our umask may keep others from reading it.
  await handOver(hba, user);
  await writeFile(join(directory, 'owner.pid'), `${process.pid}\n`);

  for (let tries = 1; ; tries++) {
    const port = options.port || (await findFreePort());
    const started = await launch(site, port, options, ignoredPid);
    if (typeof started !== 'string') {
      return { host: HOST, port, version: programs.version, directory, created, ...started };
    }
    const portTaken = /could not bind/.test(started) && !options.port;
    // After a kill -9 of the postmaster its children take a moment to notice.
    const childrenLeft = /pre-existing shared memory block/.test(started);
    if (tries === MOST_TRIES || !(portTaken || childrenLeft)) {
      throw new EmbeddedPostgresError(`PostgreSQL did not start: ${started}`);
    }
  }
}

/** Finds the folder to work in and whom to run as. */
async function settle(
  asked: string,
  notice: EmbeddedPostgresOptions['notice'],
): Promise<{ directory: string; user: RunUser }> {
  await mkdir(asked, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw new EmbeddedPostgresError(`cannot make the folder ${asked} (${systemErrorCode(error)})`);
  });
  const wanted = await realpath(asked);
  // The folder of a former start that could not use the wanted one.
  const elsewhereFile = join(wanted, 'elsewhere');
  const elsewhere = (await readFile(elsewhereFile, 'utf8').catch(() => '')).trim();
  const elsewhereOwner = elsewhere === '' ? undefined : await ownerOf(elsewhere);
  if (elsewhereOwner !== undefined && elsewhereOwner === process.geteuid?.()) {
    const user = await chooseUser(await ownerOf(join(elsewhere, 'data')));
    if (user === null || (await canEnter(user, elsewhere))) {
      notice?.(`PostgreSQL's data is in ${elsewhere}`);
      return { directory: elsewhere, user };
    }
  }
  const user = await chooseUser(await ownerOf(join(wanted, 'data')));
  if (user === null) return { directory: wanted, user };
  // The user has to pass through it to `data`.
  await chmod(wanted, 0o711);
  if (await canEnter(user, wanted)) return { directory: wanted, user };

  const directory = await mkdtemp(join(tmpdir(), 'tsbouncer-'));
  await chmod(directory, 0o711);
  if (!(await canEnter(user, directory))) {
    await rm(directory, { recursive: true });
    throw new EmbeddedPostgresError(
      `user "${user.name}", who has to run PostgreSQL, can enter neither ${wanted} nor ${tmpdir()}`,
    );
  }
  await writeFile(elsewhereFile, `${directory}\n`);
  notice?.(
    `PostgreSQL refuses to run as root, and user "${user.name}" cannot enter ${wanted}: ` +
      `its data is in ${directory}, which may not outlive a restart of this machine`,
  );
  return { directory, user };
}

async function ownerOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => null))?.uid;
}

/** Makes the data directory if there is none; tells whether it did. It is renamed into place when it is complete. */
async function ensureData(site: Site, options: EmbeddedPostgresOptions): Promise<boolean> {
  const { data, user, programs } = site;
  const found = await readFile(join(data, 'PG_VERSION'), 'utf8').catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return null;
    throw new EmbeddedPostgresError(`cannot read ${data} (${systemErrorCode(error)}): start as the user who made it`);
  });
  if (found !== null) {
    if (Number(found) === programs.majorVersion) return false;
    throw new EmbeddedPostgresError(
      `the data in ${data} was made by PostgreSQL ${found.trim()}, this is ${programs.version}: ` +
        `move that folder away to start with an empty one`,
    );
  }

  const unfinished = `${data}.new`;
  const passwordFile = join(site.directory, 'initdb.password');
  try {
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished, { mode: 0o700 });
    await handOver(unfinished, user);
    const args = ['-D', unfinished, '--username', options.superuser ?? 'postgres'];
    args.push('--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions');
    if (options.password === undefined) args.push('--auth=trust');
    else {
      await writeFile(passwordFile, `${options.password}\n`, { mode: 0o600 });
      await handOver(passwordFile, user);
      args.push('--auth=scram-sha-256', `--pwfile=${passwordFile}`);
    }
    const { ok, output } = await runAs(user, programs.initdb, args);
    if (!ok) throw new EmbeddedPostgresError(`initdb failed: ${reasonIn(output.split('\n'))}`);
    await rename(unfinished, data);
    return true;
  } finally {
    await rm(passwordFile, { force: true });
  }
}

async function handOver(path: string, user: RunUser): Promise<void> {
  if (user === null) return;
  await chown(path, user.uid >>> 0, user.gid >>> 0).catch((error: unknown) => {
    throw cannotSwitchTo(user, error);
  });
}

function hbaFile(options: EmbeddedPostgresOptions): string {
  const method = options.authMethod ?? (options.password === undefined ? 'trust' : 'scram-sha-256');
  const own = ['127.0.0.1/32', '::1/128'].flatMap((address) => [
    `host all all ${address} ${method}`,
    `host replication all ${address} ${method}`,
  ]);
  return ['# Written at each start.', ...(options.hba ?? []), ...own, ''].join('\n');
}

/**
 * Stops a postmaster that an ended process of ours has left on this data. Returns the process id of a lock file that
 * speaks of no postmaster at all: in a new container, or after a restart, another process may have that number.
 */
async function clearLeftover({ directory, data, user, programs }: Site): Promise<number | null> {
  const lockFile = join(data, 'postmaster.pid');
  const pid = Number.parseInt(await readFile(lockFile, 'utf8').catch(() => ''), 10);
  const commandLine = await commandLineOf(pid);
  if (commandLine === null) return null;
  // On Windows nothing but a postmaster hears PostgreSQL's signals, so that no other process can be hit.
  if (process.platform !== 'win32' && !commandLine.includes(data)) return pid;
  const owner = Number.parseInt(await readFile(join(directory, 'owner.pid'), 'utf8').catch(() => ''), 10);
  if ((await commandLineOf(owner)) !== null) {
    throw new EmbeddedPostgresError(
      `the PostgreSQL in ${directory} is in use by process ${owner}: stop that one first`,
    );
  }
  const { ok, output } = await runAs(user, programs.pgCtl, ['stop', '-D', data, '-m', 'fast', '-w']);
  if (!ok && existsSync(lockFile)) {
    throw new EmbeddedPostgresError(`the PostgreSQL in ${directory} still runs (process ${pid}): ${output}`);
  }
  return null;
}

/** Null if there is no such process. One that has ended, but that its parent has not asked for yet, has none. */
async function commandLineOf(pid: number): Promise<string | null> {
  if (!(pid > 0)) return null;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemErrorCode(error) !== 'EPERM') return null;
  }
  if (process.platform === 'linux') return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null);
  if (process.platform === 'win32') return 'unknown';
  return (await runAs(null, '/bin/ps', ['-o', 'command=', '-p', String(pid)]).catch(() => null))?.output ?? null;
}

/** PostgreSQL does not take port 0. Between this and its bind another process may take the port: then we try again. */
async function findFreePort(): Promise<number> {
  const listener = new Listener({ host: HOST, port: 0, backlog: 1, ipv6Only: false, reusePort: false }, noop, noop);
  await listener.listen();
  const { address } = listener;
  await listener.close();
  return address?.port ?? 0;
}

function noop(): void {}

/** Starts the postmaster and waits until it accepts connections. A string is its reason not to. */
async function launch(
  { directory, data, user, programs }: Site,
  port: number,
  options: EmbeddedPostgresOptions,
  ignoredPid: number | null,
): Promise<Pick<EmbeddedPostgres, 'process' | 'exited' | 'stop'> | string> {
  const settings = {
    listen_addresses: HOST,
    unix_socket_directories: '',
    ...options.settings,
    hba_file: join(directory, 'pg_hba.conf'),
    // We read from its log that it is ready.
    logging_collector: 'off',
    log_destination: 'stderr',
    lc_messages: 'C',
  };
  const args = ['-D', data, '-p', String(port)];
  for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`);
  // PostgreSQL takes a lock file with the id of its grandparent for stale, but still looks for children in its memory.
  const env = ignoredPid === null ? {} : { PG_GRANDPARENT_PID: String(ignoredPid) };
  const child = spawnAs(user, programs.postgres, args, {
    cwd: directory,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env,
  });
  const dismissWatchdog = startWatchdog(user, child.pid, data);
  const exited = new Promise<void>((resolve) => {
    child.on('exit', () => resolve());
    child.on('error', () => resolve()); // it never ran
  }).then(dismissWatchdog);

  const logPath = options.logPath ?? join(directory, 'postgres.log');
  const reason = await readiness(child, logPath);
  if (reason !== null) return reason;
  const stop = async (mode: StopMode = 'fast'): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    if (process.platform === 'win32') await runAs(user, programs.pgCtl, ['stop', '-D', data, '-m', mode, '-W']);
    else child.kill(STOP_SIGNALS[mode]);
    await exited;
  };
  return { process: child, exited, stop };
}

/** Fulfilled with null when `child` accepts connections, with its reason when it gives up. Its words go to the log. */
function readiness(child: ChildProcess, logPath: string): Promise<string | null> {
  return new Promise((resolve) => {
    const log = createWriteStream(logPath, { flags: 'a', mode: 0o600 });
    log.on('error', () => {}); // a full disk must not end the pooler; PostgreSQL itself will say more
    child.on('error', (error) => {
      log.end();
      resolve(error.message);
    });
    if (child.stderr === null) return;
    const recent: string[] = [];
    let isReady = false;
    createInterface({ input: child.stderr })
      .on('line', (line) => {
        log.write(`${line}\n`);
        if (isReady) return;
        recent.push(line);
        if (!/database system is ready to accept/.test(line)) return;
        isReady = true;
        resolve(null);
      })
      .on('close', () => {
        log.end();
        resolve(`${reasonIn(recent)} (see ${logPath})`);
      });
  });
}

/** The line of an output that says why a program gave up. */
function reasonIn(lines: readonly string[]): string {
  const spoken = lines.filter((line) => line.trim() !== '');
  const reason =
    spoken.find((line) => /could not bind|FATAL|PANIC|error:/.test(line)) ?? spoken.at(-1) ?? 'it said nothing';
  return reason.replace(/^.*?(?:LOG|FATAL|PANIC|error): +/, '');
}

/**
 * A shell that reads from a pipe which nobody writes to: it wakes when the pipe ends, and the pipe ends when we do.
 * Returns how to dismiss it. Windows has no such shell; there the next start stops what is left over.
 */
function startWatchdog(user: RunUser, pid: number | undefined, data: string): () => void {
  if (pid === undefined || process.platform === 'win32') return () => {};
  const script = 'read -r line; read -r pid < "$2"; [ "$pid" = "$1" ] && kill -INT "$1"';
  const shell = spawnAs(user, '/bin/sh', ['-c', script, 'sh', String(pid), join(data, 'postmaster.pid')], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  shell.on('error', () => {});
  shell.unref();
  return () => shell.kill('SIGKILL');
}
