/**
 * The composition root, and the library's entry: builds the rooms, wires them together, starts, drains and stops them.
 * Nothing here is on the path of a byte.
 */
import { createRequire } from 'node:module';
import type { ShutdownKind } from './admin/console-actions.ts';
import { Consoles } from './admin/consoles.ts';
import { AuthFile } from './auth/auth-file.ts';
import { DerivedKeys } from './auth/derived-keys.ts';
import { loadAuthPolicy } from './auth/load-auth-policy.ts';
import { BoundedLog } from './base/bounded-log.ts';
import type { Environment, Timer } from './base/environment.ts';
import { errors } from './base/errors.ts';
import { FloodLog } from './base/flood-log.ts';
import type { Logger } from './base/logger.ts';
import { type LogSettings, ProcessLog } from './base/process-log.ts';
import { CancelRouter } from './client/cancel-router.ts';
import { ClientLogin } from './client/client-login.ts';
import { ClientRegistry } from './client/client-registry.ts';
import { takeSnapshot } from './client/client-snapshot.ts';
import { ConnectionIds } from './client/connection-ids.ts';
import { snapshotDetails } from './client/detail-snapshot.ts';
import type { LoginContext } from './client/login-context.ts';
import { type Row, ServerQuestion } from './client/server-question.ts';
import { Suspension } from './client/suspension.ts';
import type { Config, DatabaseConfig } from './config/config.ts';
import { formatProblem } from './config/config-error.ts';
import { configFromObject, loadConfig } from './config/load-config.ts';
import type { Settings } from './config/settings.ts';
import { ConfigWatch } from './config-watch.ts';
import { descriptorLimit, reportDescriptorLimit } from './descriptor-limit.ts';
import { Listeners, type PoolerAddress } from './listeners.ts';
import { LiveConfig, type ReloadResult } from './live-config.ts';
import { EventLoopLag } from './metrics/event-loop-lag.ts';
import { MetricsServer } from './metrics/metrics-server.ts';
import { ProcessValues } from './metrics/process-values.ts';
import { NodeEnvironment } from './net/node-environment.ts';
import { onlyUserOf } from './net/private-folder.ts';
import { Resolver } from './net/resolver.ts';
import type { SocketHandle } from './net/socket-binding.ts';
import { SocketFactory } from './net/socket-factory.ts';
import { TlsContexts } from './net/tls-contexts.ts';
import { watchFolder } from './net/watch-folder.ts';
import { DatabaseControl } from './pool/database-control.ts';
import { Janitor } from './pool/janitor.ts';
import { Peers } from './pool/peers.ts';
import { upkeep } from './pool/pool-upkeep.ts';
import { ProcessBudget } from './pool/process-budget.ts';
import { Router } from './pool/router.ts';
import { SecretDirectory } from './pool/secret-directory.ts';
import type { PoolerSnapshot } from './pool/snapshot.ts';
import { StatsLog } from './pool/stats-log.ts';
import { StatementRegistry } from './server/statement-registry.ts';

/** What tests and `program.ts` may replace; everybody else leaves it alone. */
export interface PoolerOverrides {
  readonly log?: Logger;
  /** Log nothing to standard output. */
  readonly quiet?: boolean;
  /** Write to sockets directly, past Node's streams (default: where this Node can). */
  readonly directIo?: boolean;
  /** Overwrite each chunk of bytes after its callback. */
  readonly poisonReads?: boolean;
  /** How a reload reads the configuration (default: the file that it came from). */
  readonly readConfig?: () => Config;
  /** Descriptors of sockets to listen on, instead of what the configuration says. */
  readonly sockets?: readonly number[];
  /** Around each reload that `requestReload` has brought about. */
  readonly onReloading?: () => Promise<void>;
  readonly onReload?: () => void;
  /** Gets the real environment and returns the one to use. */
  readonly environment?: (real: Environment) => Environment;
}

/** Of this package. */
export const VERSION: string = (createRequire(import.meta.url)('../package.json') as { version: string }).version;

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
  readonly #overrides: PoolerOverrides;
  readonly #environment: Environment;
  readonly #sockets: SocketFactory;
  readonly #tls: TlsContexts;
  readonly #resolver: Resolver;
  readonly #router: Router;
  readonly #secrets: SecretDirectory;
  readonly #peers: Peers;
  readonly #registry: ClientRegistry;
  readonly #consoles: Consoles;
  readonly #control: DatabaseControl;
  readonly #suspension: Suspension;
  readonly #ids = new ConnectionIds();
  readonly #logins: LoginContext;
  readonly #janitor: Janitor;
  readonly #statsLog: StatsLog;
  readonly #listeners: Listeners;
  readonly #watch: ConfigWatch;
  readonly #users: AuthFile;
  readonly #budget: ProcessBudget;
  readonly #eventLoopLag: EventLoopLag;
  readonly #process: ProcessValues;
  /** Null while http_port is 0. */
  readonly #metrics: MetricsServer | null;
  #state: PoolerSnapshot['state'] = 'starting';
  #closing: Promise<void> | null = null;
  #reloadTimer: Timer | null = null;
  #onClosed: () => void = () => {};
  /** Resolves when it has been closed, by whomever: the console can do it, too. */
  readonly closed = new Promise<void>((resolve) => {
    this.#onClosed = resolve;
  });

  /** Builds everything and opens nothing; see `createPooler`. */
  constructor(config: Config, overrides: PoolerOverrides) {
    const { settings } = config;
    this.#overrides = overrides;
    this.#ownLog = overrides.log === undefined ? new ProcessLog(logSettings(settings, overrides)) : null;
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
    this.#tls = new TlsContexts(settings);
    const real = new NodeEnvironment((address, handler) => this.#sockets.dial(address, handler));
    const environment = overrides.environment?.(real) ?? real;
    this.#environment = environment;
    this.#users = new AuthFile({ environment, log: this.log, onChanged: () => this.#secrets.onUsersChanged() });
    this.#users.prepare(config)();
    this.#listeners = new Listeners(this.log, (connection, unixPort) => this.#onConnection(connection, unixPort));
    this.#watch = new ConfigWatch({ environment, watchFolder, onChange: () => void this.requestReload() });
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
      security: this.#tls,
      isPaused: (databaseName) => this.#router.states.isStopped(databaseName),
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
      security: this.#tls,
    });
    this.#peers = new Peers({ environment, resolver: this.#resolver, security: this.#tls, config });
    const systemUser = settings.unixSocketDir === null ? null : onlyUserOf(settings.unixSocketDir);
    this.#control = new DatabaseControl(this.#router, this.#secrets.queries);
    this.#suspension = new Suspension({
      environment,
      clients: this.#registry.clients,
      pools: () => this.#router.pools,
      timeoutMs: () => this.config.settings.suspendTimeoutMs,
    });
    this.#consoles = this.#console();
    this.#logins = {
      environment,
      config,
      keys,
      policy: loadAuthPolicy(settings, systemUser),
      systemUser,
      log: new FloodLog(environment, this.log),
      router: this.#router,
      registry: this.#registry,
      cancels: new CancelRouter(this.#registry.cancelKeys, this.#peers),
      secrets: this.#secrets,
      statements,
      console: this.#consoles,
      security: this.#tls,
      boundedLog: new BoundedLog(environment, this.log),
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
    return this.#listeners.addresses;
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

  /** Everybody whose secret is known beforehand. */
  get userNames(): readonly string[] {
    return this.#secrets.userNames;
  }

  /**
   * Asks PostgreSQL as `userName` (or the forced user) in `databaseName`, which `database` serves; nothing needs to be
   * started. Rejects with words for the operator, or after `timeoutMs`.
   */
  async ask(
    database: DatabaseConfig,
    databaseName: string,
    userName: string,
    { sql, timeoutMs }: { readonly sql: string; readonly timeoutMs: number },
  ): Promise<readonly Row[]> {
    let timer: Timer | null = null;
    try {
      return await ServerQuestion.ask(this.#router.pool(database, databaseName, userName), sql, (giveUp) => {
        timer = this.#environment.startTimer(timeoutMs, () => giveUp(`no answer within ${timeoutMs / 1000} s`));
      });
    } finally {
      (timer as Timer | null)?.cancel();
    }
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
      states: this.#router.states,
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
      await this.#listeners.listen(this.config.settings, this.#overrides.sockets ?? []);
    } catch (error) {
      await this.close({ timeoutMs: 0 });
      throw error;
    }
    if (this.#closing === null) this.#state = 'ready';
    this.#janitor.start();
    if (this.#metrics !== null) this.#eventLoopLag.start();
    for (const warning of this.config.warnings) this.log.warn({}, formatProblem(warning));
    reportDescriptorLimit(this.config, this.log);
    this.#watchFiles(this.config);
    this.log.info({ addresses: this.#listeners.words, version: VERSION }, 'listening');
  }

  /**
   * Reads the configuration's file again, and those that it names (auth_file, certificates), and goes on with what they
   * say, which is in force when the promise resolves. If something is wrong with them nothing changes. Never rejects.
   */
  reload(): Promise<ReloadResult> {
    return Promise.resolve(this.#config.reload());
  }

  /**
   * As `reload`, in a moment: whatever asks for it until then (a flood of signals) asks for the same one. Returns whether
   * nobody had asked for it yet.
   */
  requestReload(): boolean {
    if (this.#reloadTimer !== null) return false;
    this.#reloadTimer = this.#environment.startTimer(0, () => {
      this.#reloadTimer = null;
      const { onReloading, onReload } = this.#overrides;
      void Promise.resolve(onReloading?.())
        .then(() => this.reload())
        .then(onReload);
    });
    return true;
  }

  /** Everything is, by `pause`. */
  get isPaused(): boolean {
    return this.#control.isEverythingPaused;
  }

  /** The console's PAUSE of everything: servers are closed as they become free, and clients wait. */
  pause(): void {
    this.#control.pause(null);
  }

  /** Undoes `pause`. */
  resume(): void {
    this.#control.resume(null);
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
    this.#closing ??= this.#drain().then(this.#onClosed);
    const { timeoutMs = this.config.settings.shutdownTimeoutMs || undefined } = options;
    if (timeoutMs !== undefined) {
      const timer = this.#environment.startTimer(timeoutMs, () => this.#cut());
      void this.#closing.then(() => timer.cancel());
    }
    return this.#closing;
  }

  /**
   * SIGTERM: after shutdown_delay, in which clients are still let in, as `close`; with shutdown_timeout 0 as
   * `waitForClients`.
   */
  async terminate(): Promise<void> {
    if (this.config.settings.shutdownTimeoutMs === 0) return this.waitForClients();
    await this.#announceEnd();
    return this.close();
  }

  /**
   * PgBouncer's SHUTDOWN WAIT_FOR_CLIENTS: accepts nothing more (after shutdown_delay, in which a load balancer learns
   * of it); resolves when the last client has left by itself.
   */
  async waitForClients(): Promise<void> {
    await this.#announceEnd();
    await this.#stopListening();
    await this.#settled(() => this.#registry.isDeserted);
    await this.close({ timeoutMs: 0 });
  }

  /**
   * PgBouncer's SHUTDOWN WAIT_FOR_SERVERS: accepts nothing more, gives out no server, tells those who wait; resolves when
   * the last server has been given back.
   */
  async waitForServers(): Promise<void> {
    await this.#stopListening();
    this.#router.stop(errors.serverShuttingDown(), 'shutdown');
    await this.#settled(() => [...this.#router.pools].every((pool) => pool.servers.total === 0));
    await this.close({ timeoutMs: 0 });
  }

  /** See `LiveConfigOptions.prepare`. The order is the one in which each finds what it needs. */
  #prepare(config: Config): () => void {
    const { settings } = config;
    const useAuthFile = this.#users.prepare(config);
    const policy = loadAuthPolicy(settings, this.#logins.systemUser);
    const useTls = this.#tls.prepare(settings);
    return () => {
      this.#ownLog?.configure(logSettings(settings, this.#overrides));
      useAuthFile();
      useTls();
      this.#secrets.reload(config);
      this.#sockets.configure({ keepAlive: settings.tcpKeepalive, keepAliveDelayMs: settings.tcpKeepidleMs });
      this.#resolver.configure({ maxTtlMs: settings.dnsMaxTtlMs, notFoundTtlMs: settings.dnsNxdomainTtlMs });
      this.#statsLog.configure(settings.statsPeriodMs);
      this.#logins.config = config;
      this.#logins.policy = policy;
      if (this.#state === 'ready') this.#watchFiles(config);
      // While nobody is served any more there is nothing that pools could do with it.
      if (this.#router.isStopped) return;
      this.#peers.configure(config);
      this.#router.configure(config);
      this.#registry.configure(config);
    };
  }

  #watchFiles({ path, otherFiles, settings }: Config): void {
    const { reloadOnChange, authFile, authHbaFile, authIdentFile } = settings;
    const named = [authFile, authHbaFile, authIdentFile, ...tlsFiles(settings)];
    const files = path === null || !reloadOnChange ? [] : [path, ...otherFiles, ...named];
    this.#watch.watch(files.filter((file) => file !== null));
  }

  #console(): Consoles {
    return new Consoles({
      environment: this.#environment,
      version: VERSION,
      log: this.log,
      registry: this.#registry,
      control: this.#control,
      ids: this.#ids,
      suspension: this.#suspension,
      config: () => this.config,
      snapshot: () => this.snapshot(),
      details: () => this.#details(),
      peers: () => this.#peers.snapshot(),
      actions: {
        reload: async () => ((await this.reload()).ok ? null : errors.reloadFailed()),
        set: async (name, value) => ((await this.set(name, value)).ok ? null : errors.setFailed()),
        shutdown: (kind) => this.#shutdown(kind),
        isShuttingDown: () => this.#state === 'draining',
      },
    });
  }

  #details() {
    return snapshotDetails({
      environment: this.#environment,
      config: this.config,
      registry: this.#registry,
      pools: this.#router.pools,
      budget: this.#budget,
      ids: this.#ids,
      userNames: this.#secrets.userNames,
      hosts: this.#resolver.hosts,
    });
  }

  #shutdown(kind: ShutdownKind): void {
    if (kind === 'now') void this.close({ timeoutMs: 0 });
    else void (kind === 'wait_for_clients' ? this.waitForClients() : this.waitForServers());
  }

  /** `unixPort`: null for a connection by TCP. */
  #onConnection(connection: SocketHandle, unixPort: number | null): void {
    this.#suspension.admit(() =>
      ClientLogin.begin(this.#logins, (handler) => this.#sockets.accept(connection, handler, unixPort)),
    );
  }

  #onRound(nowMs: number): void {
    const { settings } = this.config;
    this.#registry.checkDeadlines(nowMs);
    this.#peers.checkDeadlines(nowMs, settings.cancelWaitTimeoutMs);
    for (const pool of this.#router.pools) upkeep(pool, settings, nowMs);
    this.#users.check(nowMs);
    this.#secrets.queries.tick(nowMs);
    this.#consoles.onRound(nowMs);
    if (settings.logStats) this.#statsLog.check(nowMs);
    this.#router.dropEmpty(nowMs, settings.poolIdleTimeoutMs, settings.autodbIdleTimeoutMs);
  }

  /**
   * As in PgBouncer, the Unix socket stays as long as anything does: peers pass on cancels of those who are still there,
   * and the console can be asked for them.
   */
  async #stopListening(): Promise<void> {
    this.#state = 'draining';
    this.#registry.close();
    await this.#listeners.closeAddresses();
  }

  /** `/readyz` says no from now on; resolves after shutdown_delay. */
  async #announceEnd(): Promise<void> {
    this.#state = 'draining';
    const openUntilMs = this.#environment.now() + this.config.settings.shutdownDelayMs;
    await this.#settled(() => this.#closing !== null || this.#environment.now() >= openUntilMs);
  }

  async #drain(): Promise<void> {
    const closed = this.#stopListening();
    const report = errors.shuttingDown();
    this.#router.stop(report, 'shutdown');
    this.#secrets.queries.stop();
    this.#suspension.end();
    this.#registry.endLogins(report);
    for (const client of this.#registry.clients) client.drain(report, 'shutdown');
    this.#consoles.close(report);
    await closed;
    await this.#settled(() => this.#registry.isDeserted && !this.#hasServers());
    await this.#listeners.close();
    this.#registry.endLoginsAndCancels(report);
    this.#peers.close();
    await this.#settled(() => this.#registry.sockets === 0 && !this.#hasServers());
    this.#reloadTimer?.cancel();
    this.#watch.close();
    this.#janitor.stop();
    this.#resolver.close();
    this.#eventLoopLag.stop();
    await this.#metrics?.close();
  }

  /** Ends everything that is still there. */
  #cut(): void {
    void this.#listeners.close();
    this.#registry.endLoginsAndCancels(errors.shuttingDown());
    for (const client of this.#registry.clients) client.close('shutdown', errors.shuttingDown());
    for (const pool of this.#router.pools) pool.closeServers('shutdown');
  }

  #hasServers(): boolean {
    return ![...this.#router.pools].every((pool) => pool.isEmpty) || !this.#secrets.queries.isEmpty;
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

function tlsFiles(settings: Settings): readonly (string | null)[] {
  const { clientTlsKeyFile, clientTlsCertFile, clientTlsCaFile } = settings;
  const { serverTlsKeyFile, serverTlsCertFile, serverTlsCaFile } = settings;
  return [clientTlsKeyFile, clientTlsCertFile, clientTlsCaFile, serverTlsKeyFile, serverTlsCertFile, serverTlsCaFile];
}

/** As in PgBouncer `-v`, or `verbose`, wins over log_level. */
function logSettings(settings: Settings, { quiet = false }: PoolerOverrides): LogSettings {
  const { verbose, logLevel, logFormat: format, logfile, syslog, syslogIdent, syslogFacility } = settings;
  return {
    level: verbose > 0 ? 'debug' : logLevel,
    format,
    file: logfile,
    quiet,
    syslog: syslog ? { ident: syslogIdent, facility: syslogFacility } : null,
  };
}
