/**
 * The composition root, and the library's entry: builds the rooms, wires them together, starts, drains and stops them.
 * Nothing here is on the path of a byte.
 */
import { createRequire } from 'node:module';
import { AuthFile } from './auth/auth-file.ts';
import { DerivedKeys } from './auth/derived-keys.ts';
import { loadAuthPolicy } from './auth/load-auth-policy.ts';
import type { Environment, Timer } from './base/environment.ts';
import { errors } from './base/errors.ts';
import type { Logger, LogLevel } from './base/logger.ts';
import { ProcessLog } from './base/process-log.ts';
import { ClientLogin, type LoginContext } from './client/client-login.ts';
import { ClientRegistry } from './client/client-registry.ts';
import { takeSnapshot } from './client/client-snapshot.ts';
import type { Config } from './config/config.ts';
import { formatProblem } from './config/config-error.ts';
import { configFromObject, loadConfig } from './config/load-config.ts';
import type { Settings } from './config/settings.ts';
import { descriptorLimit, reportDescriptorLimit } from './descriptor-limit.ts';
import { LiveConfig, type ReloadResult } from './live-config.ts';
import { EventLoopLag } from './metrics/event-loop-lag.ts';
import { MetricsServer } from './metrics/metrics-server.ts';
import { ProcessValues } from './metrics/process-values.ts';
import { Listener } from './net/listener.ts';
import { NodeEnvironment } from './net/node-environment.ts';
import { onlyUserOf } from './net/private-folder.ts';
import { Resolver } from './net/resolver.ts';
import type { SocketHandle } from './net/socket-binding.ts';
import { SocketFactory } from './net/socket-factory.ts';
import { UnixListener } from './net/unix-listener.ts';
import { Janitor } from './pool/janitor.ts';
import { upkeep } from './pool/pool-upkeep.ts';
import { ProcessBudget } from './pool/process-budget.ts';
import { Router } from './pool/router.ts';
import { SecretDirectory } from './pool/secret-directory.ts';
import type { PoolerSnapshot } from './pool/snapshot.ts';
import { StatsLog } from './pool/stats-log.ts';
import { StatementRegistry } from './server/statement-registry.ts';

export interface PoolerAddress {
  readonly host: string;
  readonly port: number;
}

/** What tests and `main.ts` may replace; everybody else leaves it alone. */
export interface PoolerOverrides {
  readonly log?: Logger;
  /** Write to sockets directly, past Node's streams (default: where this Node can). */
  readonly directIo?: boolean;
  /** Overwrite each chunk of bytes after its callback. */
  readonly poisonReads?: boolean;
  /** How a reload reads the configuration (default: the file that it came from). */
  readonly readConfig?: () => Config;
  /** Gets the real environment and returns the one to use. */
  readonly environment?: (real: Environment) => Environment;
}

/** Of this package. */
const VERSION: string = (createRequire(import.meta.url)('../package.json') as { version: string }).version;

/** How often a shutdown looks whether it is done. */
const SETTLE_CHECK_MS = 10;

/**
 * Starts a pooler. `config` is an object in the shape of the YAML file, or the path of one. Resolves when it listens;
 * rejects with a ConfigError, or the system's error for an address that cannot be listened on, and then nothing is left
 * running.
 */
export async function createPooler(config: object | string, overrides: PoolerOverrides = {}): Promise<Pooler> {
  const pooler = new Pooler(typeof config === 'string' ? loadConfig(config) : configFromObject(config), overrides);
  await pooler.start();
  return pooler;
}

export class Pooler {
  readonly log: Logger;
  readonly #config: LiveConfig;
  /** Null if somebody else's is used. */
  readonly #ownLog: ProcessLog | null;
  readonly #environment: Environment;
  readonly #sockets: SocketFactory;
  readonly #resolver: Resolver;
  readonly #router: Router;
  readonly #secrets: SecretDirectory;
  readonly #registry: ClientRegistry;
  readonly #logins: LoginContext;
  readonly #janitor: Janitor;
  readonly #statsLog: StatsLog;
  readonly #listeners: Listener[] = [];
  #unixListener: UnixListener | null = null;
  readonly #users: AuthFile;
  readonly #budget: ProcessBudget;
  readonly #eventLoopLag: EventLoopLag;
  readonly #process: ProcessValues;
  /** Null while http_port is 0. */
  readonly #metrics: MetricsServer | null;
  #state: PoolerSnapshot['state'] = 'starting';
  #closing: Promise<void> | null = null;
  #shutdownTimer: Timer | null = null;

  /** Builds everything and opens nothing; see `createPooler`. */
  constructor(config: Config, overrides: PoolerOverrides) {
    const { settings } = config;
    this.#ownLog = overrides.log === undefined ? new ProcessLog(logLevelOf(settings), settings.logFormat) : null;
    this.log = overrides.log ?? this.#ownLog!;
    const { path } = config;
    const read = overrides.readConfig ?? (path === null ? null : () => loadConfig(path));
    this.#config = new LiveConfig({ config, log: this.log, read, prepare: (next) => this.#prepare(next) });
    this.#sockets = new SocketFactory({
      direct: overrides.directIo ?? true,
      poison: overrides.poisonReads ?? false,
      keepAlive: settings.tcpKeepalive,
      keepAliveDelayMs: settings.tcpKeepidleMs,
    });
    const real = new NodeEnvironment((address, handler) => this.#sockets.dial(address, handler));
    const environment = overrides.environment?.(real) ?? real;
    this.#environment = environment;
    this.#users = new AuthFile({ environment, log: this.log, onChanged: () => this.#secrets.onUsersChanged() });
    this.#users.prepare(config)();
    this.#budget = new ProcessBudget(environment);
    const keys = new DerivedKeys(environment);
    const statements = new StatementRegistry();
    this.#resolver = new Resolver(environment, this.log, {
      mode: settings.resolver,
      maxTtlMs: settings.dnsMaxTtlMs,
      notFoundTtlMs: settings.dnsNxdomainTtlMs,
      resolvConfPath: settings.resolvConf,
    });
    this.#registry = new ClientRegistry(environment, settings, this.log);
    this.#secrets = new SecretDirectory({
      environment,
      log: this.log,
      config,
      budget: this.#budget,
      keys,
      resolver: this.#resolver,
      users: this.#users,
    });
    this.#router = new Router({
      environment,
      config,
      keys,
      log: this.log,
      budget: this.#budget,
      resolver: this.#resolver,
      unguessable: environment.randomBytes(16).toString('hex'),
      statements,
      secrets: this.#secrets,
    });
    const systemUser = settings.unixSocketDir === null ? null : onlyUserOf(settings.unixSocketDir);
    this.#logins = {
      environment,
      config,
      keys,
      policy: loadAuthPolicy(settings, systemUser),
      systemUser,
      log: this.log,
      router: this.#router,
      registry: this.#registry,
      secrets: this.#secrets,
      statements,
    };
    this.#statsLog = new StatsLog(this.#router, this.log, settings.statsPeriodMs, environment.now());
    this.#janitor = new Janitor(environment, { onRound: (nowMs) => this.#onRound(nowMs) });
    this.#eventLoopLag = new EventLoopLag(environment);
    this.#process = new ProcessValues(environment, this.#eventLoopLag, descriptorLimit());
    const { httpListenAddr: host, httpPort: port } = settings;
    const isReady = (): boolean => this.#state === 'ready';
    const snapshot = (): PoolerSnapshot => this.snapshot();
    this.#metrics =
      port === 0 ? null : new MetricsServer({ environment, log: this.log, host, port, snapshot, isReady });
  }

  /** What is in force. */
  get config(): Config {
    return this.#config.current;
  }

  /** Where it listens, in the order of listen_addr. */
  get addresses(): readonly PoolerAddress[] {
    return this.#listeners.map((listener) => listener.address);
  }

  /** The first of `addresses`. */
  get address(): PoolerAddress {
    const [first] = this.addresses;
    if (first === undefined) throw new Error('the pooler does not listen');
    return first;
  }

  /** Where metrics are served; null while http_port is 0. */
  get metricsAddress(): PoolerAddress | null {
    return this.#metrics?.address ?? null;
  }

  /** The pooler in this moment, as plain data: all that console and metrics read. */
  snapshot(): PoolerSnapshot {
    return takeSnapshot({
      state: this.#state,
      version: VERSION,
      config: this.config,
      nowMs: this.#environment.now(),
      pools: this.#router.pools,
      dropped: this.#router.dropped,
      budget: this.#budget,
      registry: this.#registry,
      users: this.#secrets.userCount,
      dns: { names: this.#resolver.nameCount, lookups: this.#resolver.lookupCount },
      process: this.#process.read(),
    });
  }

  async start(): Promise<void> {
    try {
      // First, so that a probe can see it start, and last to go, so that one can see it drain.
      await this.#metrics?.listen();
      await this.#listen();
    } catch (error) {
      await this.close({ timeoutMs: 0 });
      throw error;
    }
    if (this.#closing === null) this.#state = 'ready';
    this.#janitor.start();
    if (this.#metrics !== null) this.#eventLoopLag.start();
    for (const warning of this.config.warnings) this.log.warn({}, formatProblem(warning));
    reportDescriptorLimit(this.config, this.log);
    const addresses = this.addresses.map(({ host, port }) => `${host}:${port}`);
    if (this.#unixListener !== null) addresses.push(this.#unixListener.path);
    this.log.info({ addresses }, 'listening');
  }

  /**
   * Reads the configuration's file and auth_file again and goes on with what they say, which is in force when the promise
   * resolves. If something is wrong with them nothing changes. Never rejects.
   */
  reload(): Promise<ReloadResult> {
    return Promise.resolve(this.#config.reload());
  }

  /** As `reload`, with a configuration that was read elsewhere. */
  applyConfig(config: Config): Promise<ReloadResult> {
    return Promise.resolve(this.#config.apply(config));
  }

  /** The console's SET: one setting, as it is written in the file, until the next reload. */
  set(name: string, value: string): Promise<ReloadResult> {
    return Promise.resolve(this.#config.set(name, value));
  }

  /**
   * Stops: accepts nothing more, ends idle clients with 57P01, lets the others finish their transaction, and cuts what is
   * left after `timeoutMs` (default: shutdown_timeout; 0 cuts at once, with shutdown_timeout 0 there is no limit).
   * Resolves when every socket is closed. May be called again: the second call only shortens the wait.
   */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#drain();
    const { timeoutMs = this.config.settings.shutdownTimeoutMs || undefined } = options;
    if (timeoutMs !== undefined) {
      const timer = this.#environment.startTimer(timeoutMs, () => this.#cut());
      void this.#closing.then(() => timer.cancel());
    }
    return this.#closing;
  }

  /**
   * PgBouncer's SHUTDOWN WAIT_FOR_CLIENTS: accepts nothing more (after shutdown_delay, in which a load balancer learns
   * of it); resolves when the last client has left by itself.
   */
  async waitForClients(): Promise<void> {
    this.#state = 'draining';
    const openUntilMs = this.#environment.now() + this.config.settings.shutdownDelayMs;
    await this.#settled(() => this.#closing !== null || this.#environment.now() >= openUntilMs);
    await this.#stopListening();
    this.#limitShutdown();
    await this.#settled(
      () => this.#registry.clients.size + this.#registry.logins.size + this.#registry.entering.size === 0,
    );
    await this.close({ timeoutMs: 0 });
  }

  /**
   * PgBouncer's SHUTDOWN WAIT_FOR_SERVERS: accepts nothing more, gives out no server, tells those who wait; resolves when
   * the last server has been given back.
   */
  async waitForServers(): Promise<void> {
    await this.#stopListening();
    this.#limitShutdown();
    this.#router.stop(errors.serverShuttingDown(), 'shutdown');
    await this.#settled(() => [...this.#router.pools].every((pool) => pool.servers.total === 0));
    await this.close({ timeoutMs: 0 });
  }

  async #listen(): Promise<void> {
    const { listenAddr, listenPort, listenBacklog, soReuseport } = this.config.settings;
    let port = listenPort;
    for (const host of listenAddr.flatMap((address) => (address === '*' ? ['0.0.0.0', '::'] : [address]))) {
      const listener = new Listener(
        {
          host,
          port,
          backlog: listenBacklog,
          ipv6Only: true,
          reusePort: soReuseport,
        },
        (connection) => this.#onConnection(connection),
        (error) => this.log.error({ host, error: error.message }, 'listening socket failed'),
      );
      try {
        await listener.listen();
      } catch (error) {
        // A machine without IPv6 is no reason not to serve IPv4, unless IPv6 was asked for by name.
        if (host === '::' && listenAddr.includes('*') && isWithoutIpv6(error)) {
          this.log.warn({ error: String(error) }, 'IPv6 is not available');
          continue;
        }
        throw error;
      }
      this.#listeners.push(listener);
      // Several addresses share the port that the system chose for the first.
      port = listener.address.port;
    }
    await this.#listenOnUnixSocket(port);
  }

  /** See `LiveConfigOptions.prepare`. The order is the one in which each finds what it needs. */
  #prepare(config: Config): () => void {
    const { settings } = config;
    const useAuthFile = this.#users.prepare(config);
    const policy = loadAuthPolicy(settings, this.#logins.systemUser);
    return () => {
      this.#ownLog?.configure(logLevelOf(settings), settings.logFormat);
      useAuthFile();
      this.#secrets.reload(config);
      this.#sockets.configure({ keepAlive: settings.tcpKeepalive, keepAliveDelayMs: settings.tcpKeepidleMs });
      this.#resolver.configure({ maxTtlMs: settings.dnsMaxTtlMs, notFoundTtlMs: settings.dnsNxdomainTtlMs });
      this.#statsLog.configure(settings.statsPeriodMs);
      this.#logins.config = config;
      this.#logins.policy = policy;
      // While nobody is served any more there is nothing that pools could do with it.
      if (this.#router.isStopped) return;
      this.#router.configure(config);
      this.#registry.configure(config);
    };
  }

  /** Its name holds the port, which the system may have chosen. */
  async #listenOnUnixSocket(port: number): Promise<void> {
    const { unixSocketDir: folder, unixSocketMode: mode, unixSocketGroup: group, listenBacklog } = this.config.settings;
    if (folder === null) return;
    const listener = new UnixListener(
      { folder, port, mode, group, backlog: listenBacklog },
      (connection) => this.#onConnection(connection, port),
      (error) => this.log.error({ path: listener.path, error: error.message }, 'listening socket failed'),
    );
    await listener.listen();
    this.#unixListener = listener;
  }

  /** `unixPort`: null for a connection by TCP. */
  #onConnection(connection: SocketHandle, unixPort: number | null = null): void {
    ClientLogin.begin(this.#logins, (handler) => this.#sockets.accept(connection, handler, unixPort));
  }

  #onRound(nowMs: number): void {
    const { settings } = this.config;
    this.#registry.checkDeadlines(nowMs);
    for (const pool of this.#router.pools) upkeep(pool, settings, nowMs);
    this.#users.check(nowMs);
    this.#secrets.queries.tick(nowMs);
    if (settings.logStats) this.#statsLog.check(nowMs);
    this.#router.dropEmpty(nowMs, settings.poolIdleTimeoutMs, settings.autodbIdleTimeoutMs);
  }

  async #stopListening(): Promise<void> {
    this.#state = 'draining';
    await Promise.all([this.#unixListener?.close(), ...this.#listeners.map((listener) => listener.close())]);
  }

  /** Whoever is waited for is cut after shutdown_timeout. */
  #limitShutdown(): void {
    const { shutdownTimeoutMs } = this.config.settings;
    if (shutdownTimeoutMs === 0) return;
    this.#shutdownTimer ??= this.#environment.startTimer(shutdownTimeoutMs, () => void this.close({ timeoutMs: 0 }));
  }

  async #drain(): Promise<void> {
    const closed = this.#stopListening();
    const report = errors.shuttingDown();
    this.#router.stop(report, 'shutdown');
    this.#secrets.queries.stop();
    for (const login of [...this.#registry.logins, ...this.#registry.entering]) login.onShutdown(report);
    for (const client of this.#registry.clients) client.drain(report, 'shutdown');
    await closed;
    await this.#settled(() => this.#isEmpty());
    this.#shutdownTimer?.cancel();
    this.#janitor.stop();
    this.#resolver.close();
    this.#eventLoopLag.stop();
    await this.#metrics?.close();
  }

  /** Ends everything that is still there. */
  #cut(): void {
    for (const client of this.#registry.clients) client.close('shutdown', errors.shuttingDown());
    for (const pool of this.#router.pools) pool.closeServers('shutdown');
  }

  #isEmpty(): boolean {
    const hasServers = ![...this.#router.pools].every((pool) => pool.isEmpty) || !this.#secrets.queries.isEmpty;
    return this.#registry.sockets === 0 && !hasServers;
  }

  #settled(isDone: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (!isDone()) return;
        timer.cancel();
        resolve();
      };
      const timer = this.#environment.startTimer(SETTLE_CHECK_MS, check, 'repeat');
      check();
    });
  }
}

/** As PgBouncer's: `-v`, or `verbose`, wins over log_level. */
function logLevelOf({ verbose, logLevel }: Settings): LogLevel {
  return verbose > 0 ? 'debug' : logLevel;
}

function isWithoutIpv6(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL';
}
