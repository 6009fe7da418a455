/**
 * The whole pooler without a socket: logins, sessions, pools and servers wired together as `src/pooler.ts` does it, over
 * a virtual environment, between scripted clients and scripted PostgreSQLs. After each test it looks for what a pooler
 * must not leave behind, and for closes that the test did not announce.
 */
import { onTestFinished } from 'vitest';
import { Consoles } from '../../src/admin/consoles.ts';
import { DerivedKeys } from '../../src/auth/derived-keys.ts';
import { loadAuthPolicy } from '../../src/auth/load-auth-policy.ts';
import { parseSecret } from '../../src/auth/secret.ts';
import { BoundedLog } from '../../src/base/bounded-log.ts';
import type { ClientCloseReason, ServerCloseReason } from '../../src/base/close-reason.ts';
import { errors } from '../../src/base/errors.ts';
import { CancelRouter } from '../../src/client/cancel-router.ts';
import type { Client } from '../../src/client/client.ts';
import { ClientLogin } from '../../src/client/client-login.ts';
import { ClientRegistry } from '../../src/client/client-registry.ts';
import { takeSnapshot } from '../../src/client/client-snapshot.ts';
import { ConnectionIds } from '../../src/client/connection-ids.ts';
import { type DetailSnapshot, snapshotDetails } from '../../src/client/detail-snapshot.ts';
import type { LoginContext } from '../../src/client/login-context.ts';
import { Suspension } from '../../src/client/suspension.ts';
import type { Config } from '../../src/config/config.ts';
import { configFromObject } from '../../src/config/load-config.ts';
import type { ClientSecurity } from '../../src/net/client-security.ts';
import { Resolver } from '../../src/net/resolver.ts';
import type { ServerSecurity } from '../../src/net/server-security.ts';
import { DatabaseControl } from '../../src/pool/database-control.ts';
import { Janitor } from '../../src/pool/janitor.ts';
import { Peers } from '../../src/pool/peers.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { upkeep } from '../../src/pool/pool-upkeep.ts';
import { ProcessBudget } from '../../src/pool/process-budget.ts';
import { Router } from '../../src/pool/router.ts';
import { type LocalUsers, SecretDirectory } from '../../src/pool/secret-directory.ts';
import type { PoolerSnapshot } from '../../src/pool/snapshot.ts';
import { StatementRegistry } from '../../src/server/statement-registry.ts';
import { handMadeSnapshot } from '../unit/metrics/hand-made-snapshot.ts';
import { MemoryStream } from './memory-stream.ts';
import { noClientTls, noServerTls } from './memory-tls.ts';
import { MemoryTransport, type Segmentation, SharedMemory } from './memory-transport.ts';
import type { LoginOptions } from './raw-client.ts';
import { RecordingActions } from './recording-actions.ts';
import { RecordingLogger } from './recording-logger.ts';
import { ScriptedServer } from './scripted-server.ts';
import type { ScriptedSession } from './scripted-session.ts';
import { SessionClient } from './session-client.ts';
import { baselineProblems, checkStep, expectBaseline, usesOf } from './session-invariants.ts';
import { VirtualEnvironment } from './virtual-environment.ts';

/** Settings of the section `pgbouncer:`; `pool_size` is short for `default_pool_size`. */
export type BenchSettings = Readonly<Record<string, string | number | boolean>>;

export interface BenchSetup {
  /** Instead of `app`, which is at 10.0.0.1:5432. */
  readonly databases?: Readonly<Record<string, unknown>>;
  readonly users?: Readonly<Record<string, unknown>>;
  readonly peers?: Readonly<Record<string, unknown>>;
  /** Secrets as auth_file has them; without it every user exists, with `<name>-secret` as password. */
  readonly secrets?: Readonly<Record<string, string>>;
  readonly seed?: number;
  /** Steps in an order that chance decides. */
  readonly shuffled?: boolean;
  /** How TLS is done; without it there is none. See `memory-tls.ts`. */
  readonly clientSecurity?: (environment: VirtualEnvironment) => ClientSecurity;
  readonly serverSecurity?: ServerSecurity;
  /** Sockets read into memory of their own each time, as TLS ones do. */
  readonly ownMemory?: boolean;
  /** The caller cleans up by `finish` (many benches in one test). */
  readonly manual?: boolean;
}

export interface ConnectOptions {
  /** What the client's kernel takes before the client reads. */
  readonly capacity?: number;
  /** How the client's bytes are cut on their way to the pooler. */
  readonly segmentation?: Segmentation;
}

const DEFAULT_DATABASES = { app: 'host=10.0.0.1 port=5432' };
/** Longer than any time-out that could still be running when a test ends. */
const TEAR_DOWN_MS = 200_000;
const TEAR_DOWN_STEP_MS = 1000;

export function sessionBench(settings: BenchSettings = {}, setup: BenchSetup = {}): SessionBench {
  const bench = new SessionBench(settings, setup);
  if (setup.manual !== true) {
    onTestFinished(({ task }) => {
      // A test that has failed already has said what matters.
      if (task.result?.state !== 'fail') bench.finish();
    });
  }
  return bench;
}

export class SessionBench {
  readonly environment: VirtualEnvironment;
  readonly log = new RecordingLogger();
  config: Config;
  readonly registry: ClientRegistry;
  readonly budget: ProcessBudget;
  readonly router: Router;
  readonly secrets: SecretDirectory;
  readonly peers: Peers;
  readonly resolver: Resolver;
  readonly janitor: Janitor;
  readonly statements = new StatementRegistry();
  readonly consoles: Consoles;
  /** What the console asks of the whole pooler; a test may answer otherwise. */
  readonly actions = new RecordingActions();
  readonly clients: SessionClient[] = [];
  /** The pooler's ends of the clients' connections. */
  readonly accepted: MemoryTransport[] = [];
  readonly #ids = new ConnectionIds();
  readonly #suspension: Suspension;
  readonly #logins: LoginContext;
  readonly #servers = new Map<string, ScriptedServer>();
  readonly #clientMemory: SharedMemory | null;
  readonly #setup: BenchSetup;
  readonly #expectedClients = new Set<ClientCloseReason>(['terminated']);
  readonly #expectedServers = new Set<ServerCloseReason>();
  #nextClientPort = 50_000;
  #isFinished = false;
  /** What was in use when a reload made a limit smaller: it may only shrink. By scope, or pool. */
  readonly overdrafts = new Map<string, number>();
  readonly #settings: BenchSettings;

  constructor(settings: BenchSettings, setup: BenchSetup) {
    this.#settings = settings;
    this.#setup = setup;
    this.environment = new VirtualEnvironment({ seed: setup.seed ?? 1, shuffled: setup.shuffled ?? false });
    this.environment.onStep = () => checkStep(this);
    this.#clientMemory = setup.ownMemory === true ? null : new SharedMemory();
    this.config = benchConfig(settings, setup);
    const { environment, config, log } = this;
    const keys = new DerivedKeys(environment);
    const users = usersOf(setup.secrets);
    const { statements } = this;
    this.resolver = new Resolver(environment, log, {
      mode: config.settings.resolver,
      maxTtlMs: config.settings.dnsMaxTtlMs,
      notFoundTtlMs: config.settings.dnsNxdomainTtlMs,
      resolvConfPath: null,
    });
    this.registry = new ClientRegistry(environment, config.settings, log);
    this.budget = new ProcessBudget(environment);
    this.secrets = new SecretDirectory({
      environment,
      config,
      log,
      budget: this.budget,
      keys,
      resolver: this.resolver,
      security: setup.serverSecurity ?? noServerTls,
      isPaused: (databaseName) => this.router.states.isStopped(databaseName),
      users,
    });
    this.router = new Router({
      environment,
      config,
      keys,
      log,
      budget: this.budget,
      resolver: this.resolver,
      unguessable: environment.randomBytes(16).toString('hex'),
      statements,
      secrets: this.secrets,
      security: setup.serverSecurity ?? noServerTls,
    });
    this.peers = new Peers({
      environment,
      resolver: this.resolver,
      security: setup.serverSecurity ?? noServerTls,
      config,
    });
    this.#suspension = new Suspension({
      environment,
      clients: this.registry.clients,
      pools: () => this.router.pools,
      timeoutMs: () => config.settings.suspendTimeoutMs,
    });
    this.consoles = new Consoles({
      environment,
      version: '1.2.3',
      log,
      registry: this.registry,
      control: new DatabaseControl(this.router, this.secrets.queries),
      ids: this.#ids,
      suspension: this.#suspension,
      config: () => config,
      snapshot: () => this.#snapshot(),
      details: () => this.#details(),
      peers: () => this.peers.snapshot(),
      actions: this.actions,
    });
    this.#logins = {
      environment,
      config,
      keys,
      policy: loadAuthPolicy(config.settings, null),
      systemUser: null,
      log,
      router: this.router,
      registry: this.registry,
      cancels: new CancelRouter(this.registry.cancelKeys, this.peers),
      secrets: this.secrets,
      statements,
      console: this.consoles,
      security: setup.clientSecurity?.(environment) ?? noClientTls,
      boundedLog: new BoundedLog(environment, log),
    };
    this.janitor = new Janitor(environment, { onRound: (nowMs) => this.#onRound(nowMs) });
    this.janitor.start();
    this.postgresAt('10.0.0.1');
  }

  /** The PostgreSQL that the database `app` is at. */
  get postgres(): ScriptedServer {
    return this.postgresAt('10.0.0.1');
  }

  postgresAt(host: string, port = 5432): ScriptedServer {
    const key = `${host}:${port}`;
    const server = this.#servers.get(key) ?? new ScriptedServer(this.environment, { host, port });
    if (!this.#servers.has(key)) server.reusesMemory = this.#setup.ownMemory !== true;
    this.#servers.set(key, server);
    return server;
  }

  get servers(): Iterable<ScriptedServer> {
    return this.#servers.values();
  }

  /** The n-th session that PostgreSQL has seen (from 0). */
  server(index = 0): ScriptedSession {
    const session = this.postgres.sessions[index];
    if (session === undefined) throw new Error(`PostgreSQL has seen ${this.postgres.sessions.length} sessions only`);
    return session;
  }

  /** The pool of a client's database and user; made by the first login. */
  pool(database = 'app', user = 'app'): Pool {
    for (const pool of this.router.pools) {
      if (pool.databaseName === database && pool.userName === user) return pool;
    }
    throw new Error(`there is no pool ${database}/${user}`);
  }

  /** A connection that has sent nothing. */
  connect({ capacity, segmentation }: ConnectOptions = {}): SessionClient {
    const there = { address: '192.0.2.7', port: this.#nextClientPort++ };
    const here = { address: '10.0.0.99', port: 6432 };
    const { environment } = this;
    const stream = new MemoryStream(
      environment,
      { ...there, ...(capacity === undefined ? {} : { receiveCapacity: capacity }) },
      here,
    );
    environment.post(() =>
      this.#suspension.admit(() =>
        ClientLogin.begin(this.#logins, (handler) => {
          const options = {
            ...here,
            memory: this.#clientMemory,
            ...(segmentation === undefined ? {} : { segmentation }),
          };
          const transport = new MemoryTransport(environment, handler, options, there);
          this.accepted.push(transport);
          MemoryTransport.connect(stream.transport, transport);
          return transport;
        }),
      ),
    );
    const client = new SessionClient(environment, stream);
    this.clients.push(client);
    environment.run();
    return client;
  }

  /** A client that is logged in. */
  client({ capacity, segmentation, ...login }: LoginOptions & ConnectOptions = {}): SessionClient {
    const client = this.connect({
      ...(capacity === undefined ? {} : { capacity }),
      ...(segmentation === undefined ? {} : { segmentation }),
    });
    client.logIn(login);
    return client;
  }

  /** What the pooler knows about a client of a test. */
  sessionOf(client: SessionClient): Client {
    for (const session of this.registry.clients) {
      if (session.options.wire.remotePort === client.port) return session;
    }
    throw new Error('the pooler has no such client');
  }

  /** The pooler's end of a client's connection. */
  transportOf(client: SessionClient): MemoryTransport {
    return this.accepted.find(({ remotePort }) => remotePort === client.port)!;
  }

  run(): void {
    this.environment.run();
  }

  advance(ms: number): void {
    this.environment.advance(ms);
  }

  /** As `run`, also for what waits for promises (SCRAM, host names). */
  settle(): Promise<void> {
    return this.environment.settle();
  }

  /** Goes on with another configuration, as `src/pooler.ts` does it; settings that are not named are as they were. */
  reload(settings: BenchSettings = {}, setup: Pick<BenchSetup, 'databases' | 'users' | 'peers'> = {}): void {
    this.environment.post(() => {
      this.config = benchConfig({ ...this.#settings, ...settings }, { ...this.#setup, ...setup });
      for (const { key, used } of usesOf(this)) this.overdrafts.set(key, used);
      this.#logins.config = this.config;
      this.secrets.reload(this.config);
      this.peers.configure(this.config);
      this.router.configure(this.config);
      this.registry.configure(this.config);
    });
    this.environment.run();
  }

  /** As SIGTERM: ends idle clients, lets the others finish, closes what becomes free. */
  drain(): void {
    this.environment.post(() => {
      const report = errors.shuttingDown();
      this.router.stop(report, 'shutdown');
      this.secrets.queries.stop();
      this.registry.endLogins(report);
      for (const client of this.registry.clients) client.drain(report, 'shutdown');
    });
    this.environment.run();
  }

  /** The end of shutdown_timeout. */
  cut(): void {
    this.environment.post(() => {
      for (const client of this.registry.clients) client.close('shutdown', errors.shuttingDown());
      for (const pool of this.router.pools) pool.closeServers('shutdown');
    });
    this.environment.run();
  }

  /** Nothing is left of clients or servers: what a shutdown waits for. */
  get isEmpty(): boolean {
    const hasServers = ![...this.router.pools].every((pool) => pool.isEmpty) || !this.secrets.queries.isEmpty;
    return this.registry.sockets === 0 && !hasServers;
  }

  /** The test knows that clients, or servers, are closed for these reasons. */
  expectClients(...reasons: readonly ClientCloseReason[]): void {
    for (const reason of reasons) this.#expectedClients.add(reason);
  }

  expectServers(...reasons: readonly ServerCloseReason[]): void {
    for (const reason of reasons) this.#expectedServers.add(reason);
  }

  /** Closes for reasons that the test has not announced. */
  get unexpectedCloses(): string[] {
    const clients = [...this.registry.closed.keys()].filter((reason) => !this.#expectedClients.has(reason));
    const servers = [...this.router.pools]
      .flatMap((pool) => [...pool.closedServers.keys()])
      .filter((reason) => !this.#expectedServers.has(reason));
    return [...clients.map((reason) => `client: ${reason}`), ...servers.map((reason) => `server: ${reason}`)];
  }

  /** Ends everything and checks that nothing is left. Called after each test. */
  finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    const { unexpectedCloses } = this;
    for (const client of this.clients) {
      client.stream.resume();
      if (!client.isClosed) client.terminate();
    }
    for (const server of this.servers) this.#release(server);
    this.#settleUntil(() => baselineProblems(this).length === 0);
    expectBaseline(this, unexpectedCloses);
    this.router.stop(errors.shuttingDown(), 'shutdown');
    this.secrets.queries.stop();
    this.#settleUntil(() => this.isEmpty);
    this.janitor.stop();
    this.resolver.close();
    this.environment.run();
    expectBaseline(this, [], 'stopped');
  }

  #settleUntil(isDone: () => boolean): void {
    this.environment.run();
    for (let ms = 0; ms < TEAR_DOWN_MS && !isDone(); ms += TEAR_DOWN_STEP_MS)
      this.environment.advance(TEAR_DOWN_STEP_MS);
  }

  /** Whatever a test has made a server do, it now does what the model does, or goes. */
  #release(server: ScriptedServer): void {
    server.cancelling = 'at-once';
    server.onStartup = null;
    for (const cancel of server.cancels) if (cancel.isOpen) cancel.close();
    for (const session of server.live) {
      session.stream.resume();
      if (session.scripted || session.ignoresEnd || !session.isLoggedIn) session.die('reset');
      else session.releaseReplies();
    }
    server.acceptPending();
    if (server.accepting === 'hang' || server.accepting === 'later') server.accepting = 'refuse';
  }

  #details(): DetailSnapshot {
    const { environment, config, registry, router, budget } = this;
    const { pools } = router;
    return snapshotDetails({
      environment,
      config,
      registry,
      pools,
      budget,
      ids: this.#ids,
      userNames: this.secrets.userNames,
      hosts: [],
    });
  }

  #snapshot(): PoolerSnapshot {
    const { router, config, budget, registry, environment, resolver } = this;
    return takeSnapshot({
      state: 'ready',
      version: '1.2.3',
      users: 1,
      dns: { names: resolver.nameCount, lookups: resolver.lookupCount },
      process: handMadeSnapshot.process,
      config,
      nowMs: environment.now(),
      pools: router.pools,
      dropped: router.dropped,
      states: router.states,
      budget,
      registry,
    });
  }

  #onRound(nowMs: number): void {
    const { settings } = this.config;
    this.consoles.onRound(nowMs);
    this.registry.checkDeadlines(nowMs);
    this.peers.checkDeadlines(nowMs, settings.cancelWaitTimeoutMs);
    for (const pool of this.router.pools) upkeep(pool, settings, nowMs);
    this.secrets.queries.tick(nowMs);
    this.router.dropEmpty(nowMs, settings.poolIdleTimeoutMs, settings.autodbIdleTimeoutMs);
  }
}

function benchConfig({ pool_size, ...settings }: BenchSettings, setup: BenchSetup): Config {
  return configFromObject({
    pgbouncer: {
      auth_type: 'trust',
      pool_mode: 'transaction',
      // Time stands still.
      auth_failure_delay: 0,
      ...(pool_size === undefined ? {} : { default_pool_size: pool_size }),
      ...settings,
    },
    databases: setup.databases ?? DEFAULT_DATABASES,
    users: setup.users ?? {},
    peers: setup.peers ?? {},
  });
}

function usersOf(secrets: Readonly<Record<string, string>> | undefined): LocalUsers {
  return {
    usualKind: 'plain',
    size: Object.keys(secrets ?? {}).length,
    userNames: () => Object.keys(secrets ?? {}),
    lookup: (userName) => {
      const text = secrets === undefined ? `${userName}-secret` : secrets[userName];
      return text === undefined ? null : parseSecret(text);
    },
  };
}
