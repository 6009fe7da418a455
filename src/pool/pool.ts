/**
 * The server connections of one (database, user), and who waits for them. It decides who is next, when a connection is
 * opened, and what has to happen to one before it is used again. It knows no client: a waiter is all it sees.
 */
import type { ClientCloseReason, ServerCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import { LinkedList } from '../base/linked-list.ts';
import type { DatabaseConfig } from '../config/config.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import type { BudgetScope, Lease } from '../server/lease.ts';
import { ParameterTable } from '../server/parameter-table.ts';
import type { PooledStatement } from '../server/pooled-statement.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerFailure, ServerOwner } from '../server/server-holder.ts';
import type { ServerState } from '../server/server-state.ts';
import { StartupSet } from '../server/startup-set.ts';
import { TrafficCounters } from '../server/traffic-counters.ts';
import { CancelLane } from './cancel-lane.ts';
import { CanonicalValues } from './canonical-values.ts';
import { Connector, type ConnectorOwner } from './connector.ts';
import { DedicatedServers, type DedicatedServersOwner } from './dedicated-servers.ts';
import { HostFinder } from './host-finder.ts';
import { HostWatch } from './host-watch.ts';
import { IdlePicker } from './idle-picker.ts';
import { LearnedParameters } from './learned-parameters.ts';
import { needsOtherServers, type PoolConfig, placesOf, scopesOf } from './pool-config.ts';
import { PoolDemand } from './pool-demand.ts';
import type { PoolOptions } from './pool-options.ts';
import { ServerCleaner } from './server-cleaner.ts';
import { blamesParameters, failureReport, failureWords, ServerHealth } from './server-health.ts';
import { type IntroductionListener, ServerIntroduction } from './server-introduction.ts';
import { ServerLists } from './server-lists.ts';
import { ServerLog } from './server-log.ts';
import { ServerOpener, type ServerPlace } from './server-opener.ts';
import { ServerRetirement } from './server-retirement.ts';
import { isOurDoing, ServerTurnover } from './server-turnover.ts';
import { UncertainSlots } from './uncertain-slots.ts';
import { firstSinceMs, type LoginWaiter, type Waiter } from './waiter.ts';
import { WaitingLine } from './waiting-line.ts';

/** What everybody is told since the pool serves no more. */
export interface PoolEnd {
  readonly report: ErrorReport;
  readonly reason: ClientCloseReason;
}

/** States in which a client has the server, or something that a client has left is brought to its end. */
const STAYS_FOR_ITS_CLIENT: ReadonlySet<ServerState> = new Set(['linked', 'dedicated', 'recovering']);

export class Pool
  implements ServerOwner, ConnectorOwner<ServerConnection>, DedicatedServersOwner, IntroductionListener
{
  readonly databaseName: string;
  readonly traffic = new TrafficCounters();
  readonly servers = new ServerLists();
  readonly waiting = new LinkedList<Waiter>();
  /** What clients are told of servers, and whose logins wait for it. */
  readonly learned = new LearnedParameters();
  /** For clients that share no server: replication. */
  readonly dedicated: DedicatedServers;
  readonly connector: Connector<ServerConnection>;
  readonly health = new ServerHealth();
  readonly canonical = new CanonicalValues();
  readonly parameterTable = new ParameterTable();
  readonly cancels: CancelLane;
  scopes: readonly BudgetScope[];
  readonly demand: PoolDemand;
  readonly retirement = new ServerRetirement(this);
  readonly turnover = new ServerTurnover(this);
  /** Client connections that belong to this pool. */
  clients = 0;
  /** Since when there is neither a client nor a server; null while there is one. */
  emptySinceMs: number | null;
  /** Connections closed, by reason. */
  readonly closedServers = new Map<ServerCloseReason, number>();
  /** Closed without PostgreSQL having confirmed it. */
  closedUnconfirmed = 0;
  connects = 0;

  readonly #options: PoolOptions;
  #config: PoolConfig;
  readonly #finder: HostFinder;
  readonly #hosts: HostWatch;
  readonly #opener: ServerOpener;
  readonly #log: ServerLog;
  readonly #idle: IdlePicker;
  readonly #cleaner: ServerCleaner;
  readonly #uncertainSlots: UncertainSlots;
  readonly #introduction: ServerIntroduction;
  readonly #line: WaitingLine;
  #stopped: PoolEnd | null = null;

  constructor(options: PoolOptions) {
    const { environment, settings, poolSettings, databaseName } = options;
    this.#options = options;
    this.#config = options;
    this.databaseName = databaseName;
    const now = (): number => environment.now();
    this.emptySinceMs = now();
    const becomeIdle = (server: ServerConnection): void => this.#becomeIdle(server);
    this.#idle = new IdlePicker(settings, this.servers, this.emptySinceMs, becomeIdle);
    this.#cleaner = new ServerCleaner(settings, poolSettings, becomeIdle);
    this.#uncertainSlots = new UncertainSlots(environment, () => this.grow());
    this.cancels = new CancelLane(environment, poolSettings.poolSize);
    this.#finder = new HostFinder(options.resolver, placesOf(options));
    this.scopes = scopesOf(databaseName, options);
    this.#log = new ServerLog(options.log, this);
    this.#introduction = new ServerIntroduction(this.#log, this);
    this.demand = new PoolDemand(this, {
      idle: this.#idle,
      introducing: this.#introduction.servers,
      uncertainSlots: this.#uncertainSlots,
      now,
    });
    this.#line = new WaitingLine(this, this.#idle, now);
    const shared = { ...options, finder: this.#finder, demand: this.demand };
    this.connector = new Connector({ ...shared, health: this.health, owner: this });
    this.dedicated = new DedicatedServers({ ...shared, pool: this });
    this.#opener = new ServerOpener(options, this, this.parameterTable);
    this.#hosts = new HostWatch(this.#finder, (host, addresses) => this.#onAddresses(host, addresses));
    this.#hosts.watch(this.database.hosts);
  }

  get settings(): PoolSettings {
    return this.#config.poolSettings;
  }

  /** The settings of the whole pooler. */
  get globals(): Settings {
    return this.#config.settings;
  }

  get userName(): string {
    return this.#config.userName;
  }

  /** No server connection and no cancel is left, not even on its way. */
  get isEmpty(): boolean {
    const { servers, cancels, dedicated } = this;
    return servers.total + this.#uncertainSlots.size + cancels.active + this.connector.coming + dedicated.coming === 0;
  }

  /** min_pool_size is for a pool that has clients, or is known to get some. */
  get isUsed(): boolean {
    return this.clients > 0 || this.database.user !== null;
  }

  get database(): DatabaseConfig {
    return this.#config.database;
  }

  // For clients

  /** Why nobody is served any more; null while the pool serves. */
  get stopped(): PoolEnd | null {
    return this.#stopped;
  }

  /** Why there is no point in asking now; null if there is. */
  get refusal(): ErrorReport | null {
    if (this.#stopped !== null) return this.#stopped.report;
    if (!this.health.isFailing || this.health.isTemporary || this.servers.alive > 0) return null;
    if (this.health.mayTry(this.#options.environment.now(), 0)) return null;
    return this.health.reportForNewcomers();
  }

  /** An idle server for `waiter` now, or null: then it waits its turn and hears of it. */
  acquire(waiter: Waiter): ServerConnection | null {
    return this.#line.acquire(waiter);
  }

  /** The parameters that servers report, now or as soon as one has logged in. */
  awaitParameters(waiter: LoginWaiter): ReadonlyMap<string, string> | null {
    if (this.learned.known === null) {
      this.learned.waiting.add(waiter);
      this.connector.grow();
    }
    return this.learned.known;
  }

  /** Whether one of the servers has `statement`. */
  isPrepared(statement: PooledStatement): boolean {
    for (const server of this.servers) if (server.prepared.has(statement)) return true;
    return false;
  }

  /** `waiter` has got its parameters, or gives up. */
  stopAwaiting(waiter: LoginWaiter): void {
    if (this.learned.waiting.delete(waiter)) this.connector.shrink();
  }

  /** `waiter` gives up. */
  leave(waiter: Waiter): void {
    this.#line.leave(waiter);
  }

  /** Cancels what `server` runs as long as it runs the same thing. `onOver`: see `CancelLane.start`. */
  cancel(server: ServerConnection, isWanted: () => boolean, onOver: () => void): void {
    this.cancels.start(server, isWanted, onOver);
  }

  // ServerOwner

  onServerLoggedIn(server: ServerConnection): void {
    this.connects++;
    if (this.globals.logConnections) this.#log.connected(server);
    if (this.dedicated.owns(server)) return this.dedicated.loggedIn(server);
    this.connector.succeeded(server);
    const { connectQuery } = this.settings;
    if (connectQuery === null || server.closeWhenFree !== null) {
      this.learned.learn(server.reported, server.startup);
      this.#becomeIdle(server);
      return;
    }
    this.#introduction.start(server, connectQuery);
  }

  onServerFailed(server: ServerConnection, failure: ServerFailure): void {
    // Ours to end, and no failure.
    if (isOurDoing(server)) return;
    if (this.dedicated.owns(server)) this.dedicated.failed(server, failure);
    else if (this.connector.failed(server, failure)) this.#onLoginFailed(server, failure);
    this.#log.warn(server, `server login failed: ${failureWords(failure)}`);
  }

  onServerFree(server: ServerConnection): void {
    if (server.closeWhenFree !== null) server.close(server.closeWhenFree);
    else if (server.cancelsInFlight > 0) server.become('cancelling');
    else this.#cleaner.clean(server);
  }

  onServerNeedsCancel(server: ServerConnection): void {
    const { readyCount } = server;
    this.cancels.start(
      server,
      () => server.readyCount === readyCount && server.state !== 'closed' && !server.ledger.idle,
      () => {},
    );
  }

  onCancelsEnded(server: ServerConnection): void {
    this.#uncertainSlots.cancelsEnded(server);
  }

  onServerMoved(server: ServerConnection, to: ServerState): void {
    this.servers.move(server, to);
    const isLost = to === 'closing' && this.#introduction.lost(server);
    if (isLost && this.#stopped === null && !isOurDoing(server)) {
      this.#fail({ kind: 'unreachable', reason: 'connection lost during connect_query' });
    }
    // It may have been on trial for somebody who can have another one. One that is replaced was idle.
    if (to !== 'closing' || server.closeReason === 'replaced') return;
    if (this.waiting.size > 0 && this.servers.idle.size > 0) this.#line.serve();
  }

  onServerClosed(server: ServerConnection, confirmed: boolean): void {
    const reason = server.closeReason ?? 'eof';
    this.closedServers.set(reason, (this.closedServers.get(reason) ?? 0) + 1);
    const connector = this.dedicated.owns(server) ? this.dedicated : this.connector;
    if (connector.closed(server, confirmed)) return;
    if (confirmed) {
      server.lease.release();
    } else {
      this.closedUnconfirmed++;
      this.#uncertainSlots.keep(server);
    }
    this.#log.closing(server, reason);
    this.grow();
    // Whoever waited for this one to come back has nothing to wait for now.
    if (this.waiting.size > 0 && this.connector.coming === 0) this.#giveUpWaiters();
  }

  // ConnectorOwner

  onLease(lease: Lease): void {
    this.connector.granted(lease);
  }

  idleSinceMs(): number | null {
    return this.servers.idle.first?.times.stateSinceMs ?? null;
  }

  reclaim(count: number): number {
    let closed = 0;
    for (let server = this.servers.idle.first; server !== null && closed < count; server = this.servers.idle.first) {
      server.close('evicted');
      closed++;
    }
    return closed;
  }

  open(place: ServerPlace, dedicated?: ReadonlyMap<string, string>): ServerConnection | null {
    if (this.isPaused) return null;
    const startup = dedicated === undefined ? this.demand.nextStartup() : StartupSet.NONE;
    const server = this.#opener.open(place, this.#config, startup, dedicated);
    this.servers.move(server, 'connecting');
    return server;
  }

  onUnreachable(failure: ServerFailure): void {
    this.#fail(failure);
  }

  // IntroductionListener

  onIntroduced(server: ServerConnection): void {
    if (server.closeWhenFree === null) this.learned.learn(server.parameters.current(server.reported), server.startup);
    this.onServerFree(server);
  }

  onUnusable(reason: string): void {
    this.#fail({ kind: 'impossible', reason });
  }

  // For the console

  get isPaused(): boolean {
    return this.turnover.isPaused;
  }

  /** Every server is replaced: see `ServerTurnover`. */
  reconnect(): void {
    this.turnover.replace(this.#config.gate);
    this.grow();
  }

  /** Everybody is disconnected but the clients that are logged in, which are their session's to end. */
  kill(report: ErrorReport, reason: ClientCloseReason & ServerCloseReason): void {
    this.turnover.interrupt(reason);
    this.#refuseAll(report, reason);
    this.closeServers(reason);
  }

  // Upkeep, by the janitor

  /** `nowMs` is the time of this tick. Opens what is missing: for waiters, reserve, and min_pool_size. */
  tick(nowMs: number): void {
    this.#idle.tick(nowMs);
    const empty = this.clients === 0 && this.servers.total === 0;
    this.emptySinceMs = empty ? (this.emptySinceMs ?? nowMs) : null;
    this.grow();
    // The checks that they were waiting for may have taken too long.
    if (this.servers.idle.size > 0 && this.#idle.promptChecks < this.waiting.size) this.#line.serve();
  }

  /**
   * Goes on with other settings. Servers that are not what they ask for are replaced: idle ones and those on their way at
   * once, the others as they come back; the same with those that are too many. `tick` opens what is missing then.
   */
  configure(config: PoolConfig): void {
    const before = this.#config;
    const { settings, poolSettings, database } = config;
    this.#config = config;
    this.scopes = scopesOf(this.databaseName, config);
    this.#cleaner.configure(settings, poolSettings);
    this.#idle.configure(settings);
    this.#finder.configure(placesOf(config));
    for (const server of this.servers) server.maxMessageBytes = settings.maxPacketSizeBytes;
    if (before.database.hosts.join() !== database.hosts.join()) this.#hosts.watch(database.hosts);
    if (needsOtherServers(before, config)) this.turnover.replace(config.gate);
    this.cancels.configure(poolSettings.poolSize);
    this.health.retryNow();
    this.retirement.resized();
    for (let { excess } = this.retirement; excess > 0; excess--) this.servers.idle.first?.close('over_limit');
  }

  /**
   * Serves nobody from now on: who waits, and who comes, gets `report`; servers are closed, for `serverReason`, as they
   * become free.
   */
  stop({ report, reason }: PoolEnd, serverReason: ServerCloseReason): void {
    this.#stopped = { report, reason };
    this.#hosts.stop();
    this.#refuseAll(report, reason);
    this.connector.stop();
    this.dedicated.stop(report, reason);
    for (const server of this.servers) {
      if (STAYS_FOR_ITS_CLIENT.has(server.state)) server.closeWhenFree = serverReason;
      else server.close(serverReason);
    }
  }

  /** Closes every server now, whatever it is doing. */
  closeServers(reason: ServerCloseReason): void {
    for (const server of this.servers) server.close(reason);
  }

  /** Opens what is missing, first for who has waited longest. */
  grow(): void {
    const dedicatedFirst = firstSinceMs(this.dedicated.waiting) <= firstSinceMs(this.waiting);
    if (dedicatedFirst) this.dedicated.grow();
    this.connector.grow();
    if (!dedicatedFirst) this.dedicated.grow();
  }

  /** Whoever's startup parameters the server has refused hears it; of the others' it says nothing. */
  #onLoginFailed(server: ServerConnection, failure: ServerFailure): void {
    const { startup } = server;
    if (startup === StartupSet.NONE || !blamesParameters(failure)) {
      this.#fail(failure);
      return;
    }
    for (const waiter of [...this.waiting].filter((one) => one.startup.key === startup.key)) {
      this.leave(waiter);
      waiter.onNoServer(failureReport(failure), 'parameter_refused');
    }
  }

  #fail(failure: ServerFailure): void {
    this.health.failed(failure, this.#options.environment.now(), this.globals.serverLoginRetryMs);
    this.#giveUpWaiters();
  }

  /** While logins fail for good and no server is alive, nobody who waits would ever get one. */
  #giveUpWaiters(): void {
    if (!this.health.isFailing || this.health.isTemporary || this.servers.alive > 0) return;
    this.#refuseAll(this.health.reportForWaiters(), 'server_unavailable');
  }

  #refuseAll(report: ErrorReport, reason: ClientCloseReason): void {
    for (let waiter = this.waiting.shift(); waiter !== null; waiter = this.waiting.shift()) {
      waiter.onNoServer(report, reason);
    }
    this.learned.refuse(report, reason);
    this.connector.shrink();
  }

  #becomeIdle(server: ServerConnection): void {
    const reason = this.retirement.reason(server);
    if (reason !== null) {
      server.close(reason);
      return;
    }
    if (this.#options.budget.wantsBack(this) || this.dedicated.isNext) {
      server.close('evicted');
      return;
    }
    server.become('idle', server.times.answeredAtMs);
    if (this.waiting.first !== null) this.#line.serve();
    else this.#options.budget.idleAppeared();
  }

  #onAddresses(host: string, addresses: readonly string[]): void {
    this.#options.log.info({ host, addresses }, 'server address changed');
    this.turnover.moved(host, addresses);
  }
}
