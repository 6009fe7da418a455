/**
 * A pooler of a test's own, as the library starts it, in front of a database of its own on a real PostgreSQL. When the
 * test ends it is closed, and the test fails if anything was left: a socket, a timer, a client, a connection in
 * PostgreSQL, a line in the log that says error, a server that was closed for a reason that the test did not name.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, type ClientConfig } from 'pg';
import { onTestFinished } from 'vitest';
import type { Environment } from '../../src/base/environment.ts';
import type { LogFields, Logger } from '../../src/base/logger.ts';
import { createPooler, type Pooler } from '../../src/pooler.ts';
import { TcpClient } from './corpus/tcp-client.ts';
import { type PostgresCluster, type UserName, users } from './postgres-cluster.ts';

/** What is not named here is a setting of the section `pgbouncer`, in its spelling; `pool_size` is default_pool_size. */
export interface PoolerOptions {
  readonly cluster: PostgresCluster;
  /** What the database's entry says besides host and port. */
  readonly database?: Readonly<Record<string, unknown>>;
  /** Further entries as they stand in the file. */
  readonly rawDatabases?: Readonly<Record<string, string>>;
  /** Further entries; those that give no host and port are on `cluster`. */
  readonly databases?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly users?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly peers?: Readonly<Record<number, Readonly<Record<string, unknown>>>>;
  /** An existing database to be used instead of a new one. */
  readonly databaseName?: string;
  /** Where the database is instead of on the cluster itself: a proxy in front of it. */
  readonly through?: { readonly host: string; readonly port: number };
  /** Write to sockets directly; false is the public way through Node's streams. */
  readonly directIo?: boolean;
  /** The fixture's raw clients come with TLS. */
  readonly rawTls?: boolean;
  /** Reasons for closing servers (`base/close-reason.ts`) that the test brings about. */
  readonly expectedCloses?: readonly string[];
  /** Beginnings of lines at error level that the test brings about. */
  readonly expectedErrors?: readonly string[];
  /** The test breaks PostgreSQL: it cannot be asked about connections that were left. */
  readonly leavesServerDown?: boolean;
  readonly [setting: string]: unknown;
}

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: LogFields;
  readonly message: string;
}

const NO_PROBLEM_CLOSES = ['shutdown'];
/** How long a close may take when nobody is in the middle of anything. */
const CLOSE_LIMIT_MS = 5000;
/** How long Node may take to let go of sockets that are closed. */
const SETTLE_LIMIT_MS = 1000;
const SOCKETS = new Set(['TCPSocketWrap', 'TCPServerWrap', 'TCPConnectWrap', 'GetAddrInfoReqWrap']);

let authFileOfProcess: string | null = null;

/** Whose socket is whose cannot be told, so they are counted from the first fixture's start to the last one's end. */
const openFixtures = { count: 0, socketsBefore: 0 };

/** Every user of a cluster with the password in plain text, as `auth_file`. One per process, removed at its end. */
function authFile(): string {
  if (authFileOfProcess !== null) return authFileOfProcess;
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-users-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  authFileOfProcess = join(folder, 'users.txt');
  const lines = Object.entries(users).map(([name, { password }]) => `"${name}" "${password ?? ''}"\n`);
  writeFileSync(authFileOfProcess, lines.join(''));
  return authFileOfProcess;
}

/** The configuration of a fixture, in the shape of the YAML file; `database` is the name of its own. */
export function configurationOf(options: PoolerOptions, database: string): object {
  const {
    cluster,
    database: entry,
    databases,
    rawDatabases,
    users: userEntries,
    peers,
    through,
    pool_size,
    ...others
  } = options;
  const { databaseName: _name, directIo: _io, rawTls: _tls, ...rest } = others;
  const { expectedCloses: _closes, expectedErrors: _errors, leavesServerDown: _down, ...settings } = rest;
  const { host, port } = through ?? cluster;
  const otherEntries = Object.entries(databases ?? {}).map(([name, other]) => [
    name,
    { host: cluster.host, port: cluster.port, ...other },
  ]);
  return {
    pgbouncer: {
      listen_port: 0,
      auth_type: 'trust',
      auth_file: authFile(),
      max_client_conn: 1000,
      auth_failure_delay: 0,
      // carol's server asks for her password in the clear.
      server_require_auth: 'none,password,md5,scram-sha-256',
      ...(pool_size === undefined ? {} : { default_pool_size: pool_size }),
      ...settings,
    },
    databases: { [database]: { host, port, ...entry }, ...Object.fromEntries(otherEntries), ...rawDatabases },
    ...(userEntries === undefined ? {} : { users: userEntries }),
    ...(peers === undefined ? {} : { peers }),
  };
}

/** Starts a pooler that is closed, and judged, when the present test ends. */
export async function pooler(options: PoolerOptions): Promise<PoolerFixture> {
  const fixture = await startPooler(options);
  onTestFinished(() => fixture.close());
  return fixture;
}

/** For several tests; whoever starts it calls `close()`, which throws if anything was left. */
export async function startPooler(options: PoolerOptions): Promise<PoolerFixture> {
  const database = options.databaseName ?? (await options.cluster.createDatabase());
  if (openFixtures.count === 0) openFixtures.socketsBefore = socketCount();
  const log: LogLine[] = [];
  const timers = { running: 0 };
  const started = await createPooler(configurationOf(options, database), {
    log: capture(log),
    poisonReads: true,
    directIo: options.directIo ?? true,
    environment: (real) => countTimers(real, timers),
  });
  openFixtures.count++;
  return new PoolerFixture(started, options, { database, log, timers });
}

interface FixtureState {
  readonly database: string;
  readonly log: LogLine[];
  readonly timers: { readonly running: number };
}

export class PoolerFixture {
  readonly pooler: Pooler;
  readonly cluster: PostgresCluster;
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly log: readonly LogLine[];
  readonly #options: PoolerOptions;
  readonly #state: FixtureState;
  readonly #clients = new Set<{ end(): Promise<void> }>();
  #closed = false;

  constructor(started: Pooler, options: PoolerOptions, state: FixtureState) {
    this.pooler = started;
    this.cluster = options.cluster;
    this.host = started.address.host;
    this.port = started.address.port;
    this.database = state.database;
    this.log = state.log;
    this.#options = options;
    this.#state = state;
  }

  /** Of the own database, as the user who needs no password. */
  get url(): string {
    return this.urlOf('dave');
  }

  urlOf(user: UserName, database = this.database): string {
    const { password } = users[user];
    const login = password === undefined ? user : `${user}:${password}`;
    return `postgres://${login}@${this.host}:${this.port}/${database}`;
  }

  /** node-postgres, connected; it is ended with the test. */
  async client(config: ClientConfig = {}): Promise<Client> {
    const client = new Client({ connectionString: this.url, ...config });
    client.on('error', () => {}); // a lost connection shows at the query that fails
    await client.connect();
    this.#clients.add(client);
    return client;
  }

  /** A connection that has said nothing (but what TLS needs); the caller ends it. */
  connection(): Promise<TcpClient> {
    return this.#options.rawTls === true ? TcpClient.connectTls(this) : TcpClient.connect(this);
  }

  /** A client that speaks the bare protocol, logged in. */
  async raw(parameters: Readonly<Record<string, string>> = {}): Promise<TcpClient> {
    const client = await this.connection();
    await client.logIn({ user: 'dave', database: this.database, ...parameters });
    this.#clients.add({ end: () => client.leave() });
    return client;
  }

  /** Process ids of the pooler's sessions in the own database, oldest first. */
  async backends(): Promise<number[]> {
    return (await this.cluster.activity(this.database)).map(({ pid }) => pid);
  }

  /** The backend that a new client's transaction runs on: it waits for a free one. */
  async backend(): Promise<number> {
    const client = await this.raw();
    const { rows } = await client.query('select pg_backend_pid()');
    await client.leave();
    return Number(rows[0]?.[0]);
  }

  /** Reasons for which servers were closed so far, in their order. */
  get serverCloses(): string[] {
    const prefix = 'closing server: ';
    return this.log
      .filter(({ message }) => message.startsWith(prefix))
      .map(({ message }) => message.slice(prefix.length));
  }

  /** Ends the fixture's clients and the pooler; throws what is wrong. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#clients].map((client) => client.end()));
    const problems = [...(await this.#closePooler()), ...this.#logProblems(), ...(await this.#serverProblems())];
    problems.push(...(await this.#resourceProblems()));
    if (problems.length > 0) throw new Error(`the pooler's fixture found:\n${problems.join('\n')}`);
  }

  async #closePooler(): Promise<string[]> {
    const done = this.pooler.close();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), CLOSE_LIMIT_MS);
    });
    const result = await Promise.race([done, late]);
    clearTimeout(timer);
    if (result !== 'late') return [];
    const lines = this.log.slice(-15).map(({ message, fields }) => `  ${message} ${JSON.stringify(fields)}`);
    const cut = await Promise.race([
      this.pooler.close({ timeoutMs: 0 }).then(() => 'a cut was needed'),
      new Promise<string>((resolve) => setTimeout(() => resolve('not even a cut ended it'), CLOSE_LIMIT_MS)),
    ]);
    return [`close() did not end by itself: somebody was left (${cut}). Last lines of the log:`, ...lines];
  }

  #logProblems(): string[] {
    const { expectedErrors = [] } = this.#options;
    const isExpected = (message: string): boolean => expectedErrors.some((start) => message.startsWith(start));
    const errors = this.log.filter(({ level, message }) => level === 'error' && !isExpected(message));
    const expected = new Set([...NO_PROBLEM_CLOSES, ...(this.#options.expectedCloses ?? [])]);
    const closes = this.serverCloses.filter((reason) => !expected.has(reason));
    return [
      ...errors.map(({ message, fields }) => `log line at error level: ${message} ${JSON.stringify(fields)}`),
      ...closes.map((reason) => `a server was closed: ${reason}`),
    ];
  }

  /** The last FIN is read before `close()` resolves, so there is nothing to wait for. */
  async #serverProblems(): Promise<string[]> {
    if (this.#options.leavesServerDown === true) return [];
    const left = await this.cluster.activity(this.database);
    return left.map(({ pid, state, query }) => `a backend was left: ${pid} ${state} ${query}`);
  }

  async #resourceProblems(): Promise<string[]> {
    const { timers } = this.#state;
    const { socketsBefore } = openFixtures;
    openFixtures.count--;
    if (openFixtures.count > 0) return timers.running > 0 ? [`${timers.running} timers of the pooler were left`] : [];
    const deadline = performance.now() + SETTLE_LIMIT_MS;
    while (socketCount() > socketsBefore && performance.now() < deadline) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    const sockets = socketCount() - socketsBefore;
    return [
      ...(timers.running > 0 ? [`${timers.running} timers of the pooler were left`] : []),
      ...(sockets > 0 ? [`${sockets} sockets were left: ${process.getActiveResourcesInfo().join(' ')}`] : []),
    ];
  }
}

function socketCount(): number {
  return process.getActiveResourcesInfo().filter((name) => SOCKETS.has(name)).length;
}

function capture(lines: LogLine[]): Logger {
  const at = (level: LogLine['level']) => (fields: LogFields, message: string) => {
    lines.push({ level, fields, message });
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** The real environment, with the number of its timers that are running. */
function countTimers(real: Environment, timers: { running: number }): Environment {
  return {
    now: () => real.now(),
    epochMs: () => real.epochMs(),
    nextTick: (callback) => real.nextTick(callback),
    randomBytes: (size) => real.randomBytes(size),
    randomNumber: () => real.randomNumber(),
    deriveKey: (...input) => real.deriveKey(...input),
    queryDns: (...input) => real.queryDns(...input),
    lookup: (name) => real.lookup(name),
    readTextFile: (path) => real.readTextFile(path),
    fileVersion: (path) => real.fileVersion(path),
    runCommand: (words, limits) => real.runCommand(words, limits),
    dial: (address, handler) => real.dial(address, handler),
    startTimer: (delayMs, callback, repeat) => {
      let isRunning = true;
      timers.running++;
      const end = (): void => {
        if (isRunning) timers.running--;
        isRunning = false;
      };
      const timer = real.startTimer(
        delayMs,
        () => {
          if (repeat === undefined) end();
          callback();
        },
        repeat,
      );
      return {
        cancel: () => {
          end();
          timer.cancel();
        },
      };
    },
  };
}
