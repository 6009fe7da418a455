/**
 * The server connections of one (database, user), and who waits for them. It decides who is next, when a connection is
 * opened, and what has to happen to one before it is used again. It knows no client: a waiter is all it sees.
 */
import type { DerivedKeys } from '../auth/derived-keys.ts';
import type { ClientCloseReason, ServerCloseReason } from '../base/close-reason.ts';
import type { Environment, SocketAddress } from '../base/environment.ts';
import type { ErrorReport } from '../base/errors.ts';
import { LinkedList } from '../base/linked-list.ts';
import type { Logger } from '../base/logger.ts';
import type { DatabaseConfig } from '../config/config.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import type { Resolver } from '../net/resolver.ts';
import type { ServerSecurity } from '../net/server-security.ts';
import type { ErrorFields } from '../protocol/error-fields.ts';
import { STATUS_IDLE } from '../protocol/message-type.ts';
import type { Budget, BudgetScope, Lease } from '../server/lease.ts';
import { ParameterTable } from '../server/parameter-table.ts';
import type { PooledStatement } from '../server/pooled-statement.ts';
import { ServerConnection } from '../server/server-connection.ts';
import type { ServerFailure, ServerOwner } from '../server/server-holder.ts';
import type { ServerCredentials } from '../server/server-login.ts';
import type { ServerState } from '../server/server-state.ts';
import type { StatementRegistry } from '../server/statement-registry.ts';
import { TrafficCounters } from '../server/traffic-counters.ts';
import { CancelLane } from './cancel-lane.ts';
import { CanonicalValues } from './canonical-values.ts';
import { Connector, type ConnectorOwner, type ServerApproach } from './connector.ts';
import { DedicatedServers, type DedicatedServersOwner } from './dedicated-servers.ts';
import { HostFinder } from './host-finder.ts';
import { IdlePicker } from './idle-picker.ts';
import type { LoginGate } from './login-gate.ts';
import { needsOtherServers, type PoolConfig, placesOf, scopesOf } from './pool-config.ts';
import { ResetPolicy } from './reset-policy.ts';
import { failureWords, ServerHealth } from './server-health.ts';
import { ServerLists } from './server-lists.ts';
import { UncertainSlots } from './uncertain-slots.ts';
import { firstSinceMs, type LoginWaiter, type Waiter } from './waiter.ts';

/** What everybody is told since the pool serves no more. */
export interface PoolEnd {
  readonly report: ErrorReport;
  readonly reason: ClientCloseReason;
}

export interface PoolOptions extends PoolConfig {
  readonly environment: Environment;
  readonly log: Logger;
  readonly budget: Budget;
  readonly keys: DerivedKeys;
  readonly resolver: Resolver;
  /** The name that clients use. */
  readonly databaseName: string;
  /** Asked for each login, so that a changed password reaches the next one. */
  readonly credentials: (config: PoolConfig) => ServerCredentials;
  readonly unguessable: string;
  readonly statements: StatementRegistry;
  readonly security: ServerSecurity;
}

/** States in which a client has the server, or something that a client has left is brought to its end. */
const STAYS_FOR_ITS_CLIENT: ReadonlySet<ServerState> = new Set(['linked', 'dedicated', 'recovering']);

/** Reasons for which the pool itself ends a login to PostgreSQL that was going well. */
const OUR_DOING: ReadonlySet<ServerCloseReason> = new Set(['paused', 'config_changed', 'database_removed']);

const NO_PARAMETERS: ReadonlyMap<string, string> = new Map();

export class Pool implements ServerOwner, ConnectorOwner<ServerConnection>, DedicatedServersOwner {
  readonly databaseName: string;
  readonly traffic = new TrafficCounters();
  readonly servers = new ServerLists();
  readonly waiting = new LinkedList<Waiter>();
  readonly loginWaiting = new Set<LoginWaiter>();
  /** For clients that share no server: replication. */
  readonly dedicated: DedicatedServers;
  readonly health = new ServerHealth();
  readonly canonical = new CanonicalValues();
  readonly parameterTable = new ParameterTable();
  readonly cancels: CancelLane;
  scopes: readonly BudgetScope[];
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
  readonly #connector: Connector<ServerConnection>;
  readonly #idle: IdlePicker;
  #parameters: ReadonlyMap<string, string> | null = null;
  #resets: ResetPolicy;
  readonly #uncertainSlots: UncertainSlots;
  /** Those that run connect_query: on their way still, though they have logged in. */
  readonly #introducing = new Set<ServerConnection>();
  #lastLifetimeCloseMs = 0;
  #stopWatching: (() => void)[] = [];
  /** It may have more servers than a reload allows it. */
  #isOversized = false;
  #stopped: PoolEnd | null = null;
  /** Nobody gets a server, and those that come back are closed; who asks waits. */
  #isPaused = false;

  constructor(options: PoolOptions) {
    const { environment, poolSettings, resolver } = options;
    this.#options = options;
    this.#config = options;
    this.databaseName = options.databaseName;
    this.emptySinceMs = environment.now();
    this.#idle = new IdlePicker(options.settings, this.servers, this.emptySinceMs, (server) =>
      this.#becomeIdle(server),
    );
    this.#resets = new ResetPolicy(options.settings, poolSettings);
    this.#uncertainSlots = new UncertainSlots(environment, () => this.#grow());
    this.cancels = new CancelLane(environment, poolSettings.poolSize);
    this.#finder = new HostFinder(resolver, placesOf(options));
    this.#connector = new Connector({ ...options, finder: this.#finder, health: this.health, owner: this });
    this.scopes = scopesOf(this.databaseName, options);
    this.dedicated = new DedicatedServers({ ...options, finder: this.#finder, pool: this });
    this.#watch();
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
    return servers.total + this.#uncertainSlots.size + cancels.active + this.#connector.coming + dedicated.coming === 0;
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
    const { waiting, servers } = this;
    // Idle servers that were passed over are due for a check, one for each who waits; and who waits longer comes first.
    if (waiting.size > 0 && servers.idle.size > 0 && this.#idle.promptChecks <= waiting.size) this.#serve();
    // A paused pool has no idle one.
    const server = waiting.size === 0 ? this.#idle.next() : null;
    if (server !== null) {
      this.traffic.assignments++;
      return server;
    }
    waiter.waitingSinceMs = this.#options.environment.now();
    waiter.waitNotified = false;
    waiting.push(waiter);
    this.#connector.grow();
    return null;
  }

  /** The parameters that servers report, now or as soon as one has logged in. */
  awaitParameters(waiter: LoginWaiter): ReadonlyMap<string, string> | null {
    if (this.#parameters !== null) return this.#parameters;
    this.loginWaiting.add(waiter);
    this.#connector.grow();
    return null;
  }

  /** Whether one of the servers has `statement`. */
  isPrepared(statement: PooledStatement): boolean {
    for (const server of this.servers) if (server.prepared.has(statement)) return true;
    return false;
  }

  /** `waiter` has got its parameters, or gives up. */
  stopAwaiting(waiter: LoginWaiter): void {
    if (this.loginWaiting.delete(waiter)) this.#connector.shrink();
  }

  /** `waiter` gives up. */
  leave(waiter: Waiter): void {
    if (waiter.list !== this.waiting) return;
    this.waiting.remove(waiter);
    this.#connector.shrink();
  }

  /** Cancels what `server` runs as long as it runs the same thing. `onOver`: see `CancelLane.start`. */
  cancel(server: ServerConnection, isWanted: () => boolean, onOver: () => void): void {
    this.cancels.start(server, isWanted, onOver);
  }

  // ServerOwner

  onServerLoggedIn(server: ServerConnection): void {
    this.connects++;
    if (this.dedicated.owns(server)) {
      this.dedicated.loggedIn(server);
      return;
    }
    this.#connector.succeeded(server);
    const { connectQuery } = this.settings;
    if (connectQuery === null || server.closeWhenFree !== null) {
      this.#learnParameters(server.reported);
      this.#becomeIdle(server);
      return;
    }
    this.#introducing.add(server);
    server.run('preparing', connectQuery, (error) => {
      this.#introducing.delete(server);
      // As in PgBouncer: said, and otherwise ignored.
      if (error !== null) this.#log('warn', server, `connect_query failed: ${error.message}`);
      if (server.status === STATUS_IDLE) {
        if (server.closeWhenFree === null) this.#learnParameters(server.parameters.current(server.reported));
        this.onServerFree(server);
        return;
      }
      server.close('transaction_left_open');
      this.#fail({ kind: 'impossible', reason: 'connect_query leaves a transaction open' });
    });
  }

  onServerFailed(server: ServerConnection, failure: ServerFailure): void {
    // Ours to end, and no failure.
    if (server.closeReason !== null && OUR_DOING.has(server.closeReason)) return;
    if (this.dedicated.owns(server)) this.dedicated.failed(server, failure);
    else if (this.#connector.failed(server, failure)) this.#fail(failure);
    this.#log('warn', server, `server login failed: ${failureWords(failure)}`);
  }

  onServerFree(server: ServerConnection): void {
    if (server.closeWhenFree !== null) {
      server.close(server.closeWhenFree);
    } else if (server.cancelsInFlight > 0) {
      server.become('cancelling');
    } else if (this.#resets.isSpoilt(server)) {
      server.close('dirty');
    } else {
      const query = this.#resets.query(server);
      server.dirt.clear();
      if (query === '') this.#becomeIdle(server);
      else server.run('resetting', query, (error) => this.#onReset(server, query, error));
    }
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
    const isOurs = server.closeReason !== null && OUR_DOING.has(server.closeReason);
    if (to === 'closing' && this.#introducing.delete(server) && this.#stopped === null && !isOurs) {
      this.#fail({ kind: 'unreachable', reason: 'connection lost during connect_query' });
    }
    // It may have been on trial for somebody who can have another one.
    if (to === 'closing' && this.waiting.size > 0 && this.servers.idle.size > 0) this.#serve();
  }

  onServerClosed(server: ServerConnection, confirmed: boolean): void {
    const reason = server.closeReason ?? 'eof';
    this.closedServers.set(reason, (this.closedServers.get(reason) ?? 0) + 1);
    const connector = this.dedicated.owns(server) ? this.dedicated : this.#connector;
    if (connector.closed(server, confirmed)) return;
    if (confirmed) {
      server.lease.release();
    } else {
      this.closedUnconfirmed++;
      this.#uncertainSlots.keep(server);
    }
    this.#log('info', server, `closing server: ${reason}`);
    this.#grow();
    // Whoever waited for this one to come back has nothing to wait for now.
    if (this.waiting.size > 0 && this.#connector.coming === 0) this.#giveUpWaiters();
  }

  // ConnectorOwner

  onLease(lease: Lease): void {
    this.#connector.granted(lease);
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

  missing(coming: number): number {
    if (this.#isPaused) return -coming;
    const { waiting, servers } = this;
    let wanted = waiting.size - this.#idle.promptChecks - this.#introducing.size - servers.count('resetting');
    if (this.loginWaiting.size > 0 && !this.#knowsServer) wanted = Math.max(wanted, 1);
    return wanted - coming;
  }

  isBelowMinimum(coming: number): boolean {
    const isUsed = this.clients > 0 || this.database.user !== null;
    return isUsed && !this.#isPaused && this.servers.alive + coming < this.settings.minPoolSize;
  }

  room(): number {
    const { poolSize, reservePoolSize, reservePoolTimeoutMs } = this.settings;
    if (poolSize === 0) return Number.POSITIVE_INFINITY;
    const sinceMs = Math.min(firstSinceMs(this.waiting), firstSinceMs(this.dedicated.waiting));
    const useReserve = reservePoolTimeoutMs > 0 && this.#options.environment.now() - sinceMs >= reservePoolTimeoutMs;
    const taken = this.servers.total + this.#uncertainSlots.size;
    const soonTaken = this.#connector.unopened + this.dedicated.unopened;
    return poolSize + (useReserve ? reservePoolSize : 0) - taken - soonTaken;
  }

  open(
    address: SocketAddress,
    hostName: string,
    lease: Lease,
    approach: ServerApproach,
    startup = NO_PARAMETERS,
  ): ServerConnection | null {
    if (this.#isPaused) return null;
    const { environment, keys, credentials, unguessable, statements } = this.#options;
    const known = credentials(this.#config);
    const server = new ServerConnection({
      environment,
      address,
      hostName,
      // Of two values the later one counts.
      credentials: { ...known, parameters: [...known.parameters, ...startup] },
      keys,
      lease,
      owner: this,
      ...approach,
      parameterTable: this.parameterTable,
      maxMessageBytes: this.globals.maxPacketSizeBytes,
      unguessable,
      statements,
    });
    this.servers.move(server, 'connecting');
    return server;
  }

  onUnreachable(failure: ServerFailure): void {
    this.#fail(failure);
  }

  // DedicatedServersOwner

  get slotsComing(): number {
    return this.servers.in('closing').size + this.#uncertainSlots.size;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  // For the console

  /** Hands out no server until `resume`: idle ones are closed now, the others as they come back. */
  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#interrupt('paused');
    for (const server of this.servers.idle) server.close('paused');
    this.#connector.shrink();
    this.dedicated.shrink();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#grow();
  }

  /** Every server is replaced: idle ones and those on their way now, the others as they come back. */
  reconnect(): void {
    this.#replaceServers(this.#config.gate);
    this.#grow();
  }

  /** Servers of which a pause waits to be rid. */
  get pausing(): number {
    return this.servers.total - this.servers.count('closing');
  }

  /** Servers that are to be closed and are still there. */
  get outdated(): number {
    let count = 0;
    for (const { closeWhenFree } of this.servers) if (closeWhenFree !== null) count++;
    return count;
  }

  /** Everybody is disconnected but the clients that are logged in, which are their session's to end. */
  kill(report: ErrorReport, reason: ClientCloseReason & ServerCloseReason): void {
    this.#interrupt(reason);
    this.#refuseAll(report, reason);
    this.closeServers(reason);
  }

  /** Connections that are on their way to PostgreSQL are given up. Whoever still waits starts others by `grow`. */
  #interrupt(reason: ServerCloseReason): void {
    for (const server of this.servers.in('connecting')) {
      if (this.dedicated.owns(server)) this.dedicated.abandon(server);
      else this.#connector.abandon(server);
      server.close(reason);
    }
  }

  // Upkeep, by the janitor

  /** `nowMs` is the time of this tick. Opens what is missing: for waiters, reserve, and min_pool_size. */
  tick(nowMs: number): void {
    this.#idle.tick(nowMs);
    const empty = this.clients === 0 && this.servers.total === 0;
    this.emptySinceMs = empty ? (this.emptySinceMs ?? nowMs) : null;
    this.#grow();
    // The checks that they were waiting for may have taken too long.
    if (this.servers.idle.size > 0 && this.#idle.promptChecks < this.waiting.size) this.#serve();
  }

  /** Whether `server` has lived for server_lifetime, and no other was closed for that too shortly before. */
  isLifeOver(server: ServerConnection, nowMs: number): boolean {
    const { serverLifetimeMs, poolSize } = this.settings;
    if (serverLifetimeMs === 0) return server.uses > 0;
    if (nowMs - server.times.connectedAtMs < serverLifetimeMs) return false;
    // A cohort that was opened together is not closed together.
    const gapMs = poolSize > 0 ? serverLifetimeMs / poolSize : 0;
    if (nowMs - this.#lastLifetimeCloseMs < gapMs) return false;
    this.#lastLifetimeCloseMs = nowMs;
    return true;
  }

  /**
   * Goes on with other settings. Servers that are not what they ask for are replaced: idle ones and those on their way at
   * once, the others as they come back; the same with those that are too many. `tick` opens what is missing then.
   */
  configure(config: PoolConfig): void {
    const before = this.#config;
    const { settings, poolSettings } = config;
    this.#config = config;
    this.scopes = scopesOf(this.databaseName, config);
    this.#resets = new ResetPolicy(settings, poolSettings);
    this.#idle.configure(settings);
    this.#finder.configure(placesOf(config));
    for (const server of this.servers) server.maxMessageBytes = settings.maxPacketSizeBytes;
    if (before.database.hosts.join() !== config.database.hosts.join()) this.#watch();
    if (needsOtherServers(before, config)) this.#replaceServers(config.gate);
    this.cancels.configure(poolSettings.poolSize);
    this.health.retryNow();
    this.#isOversized = this.#excess > 0;
    for (let { excess, idle } = { excess: this.#excess, idle: this.servers.idle }; excess > 0; excess--) {
      if (idle.first === null) break;
      idle.first.close('over_limit');
    }
  }

  /**
   * Serves nobody from now on: who waits, and who comes, gets `report`; servers are closed, for `serverReason`, as they
   * become free.
   */
  stop({ report, reason }: PoolEnd, serverReason: ServerCloseReason): void {
    this.#stopped = { report, reason };
    for (const stop of this.#stopWatching) stop();
    this.#stopWatching = [];
    this.#refuseAll(report, reason);
    this.#connector.stop();
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

  /** What a client begins with, if it asks for nothing else: what connect_query has set belongs to it. */
  #learnParameters(reported: ReadonlyMap<string, string>): void {
    this.#parameters = reported;
    for (const waiter of this.loginWaiting) {
      this.loginWaiting.delete(waiter);
      waiter.onServerParameters(reported);
    }
  }

  /** Opens what is missing, first for who has waited longest. */
  #grow(): void {
    const dedicatedFirst = firstSinceMs(this.dedicated.waiting) <= firstSinceMs(this.waiting);
    if (dedicatedFirst) this.dedicated.grow();
    this.#connector.grow();
    if (!dedicatedFirst) this.dedicated.grow();
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
    for (const waiter of this.loginWaiting) {
      this.loginWaiting.delete(waiter);
      waiter.onNoServer(report, reason);
    }
    this.#connector.shrink();
  }

  #onReset(server: ServerConnection, query: string, error: ErrorFields | null): void {
    server.parameters.onReset(this.#resets.reach(query));
    const again = error === null ? this.#resets.again(query) : null;
    if (again !== null) server.run('resetting', again, (failure) => this.#onReset(server, again, failure));
    else if (error === null && server.status === STATUS_IDLE) this.#becomeIdle(server);
    else server.close('reset_failed');
  }

  #becomeIdle(server: ServerConnection): void {
    if (server.closeWhenFree !== null) {
      server.close(server.closeWhenFree);
      return;
    }
    if (this.#isPaused) {
      server.close('paused');
      return;
    }
    if (this.#isOversized) {
      this.#isOversized = this.#excess > 0;
      if (this.#isOversized) {
        server.close('over_limit');
        return;
      }
    }
    if (this.isLifeOver(server, server.times.answeredAtMs)) {
      server.close('lifetime');
      return;
    }
    if (this.#options.budget.wantsBack(this) || this.dedicated.isNext) {
      server.close('evicted');
      return;
    }
    server.become('idle', server.times.answeredAtMs);
    if (this.waiting.first !== null) this.#serve();
    else this.#options.budget.idleAppeared();
  }

  /** Gives idle servers to those who have waited longest. */
  #serve(): void {
    if (this.#isPaused) return;
    const nowMs = this.#options.environment.now();
    for (let waiter = this.waiting.first; waiter !== null; waiter = this.waiting.first) {
      const server = this.#idle.next();
      if (server === null) break;
      this.waiting.remove(waiter);
      this.traffic.waitMs += nowMs - waiter.waitingSinceMs;
      this.traffic.assignments++;
      waiter.onServer(server);
    }
    this.#connector.shrink();
  }

  #onAddresses(host: string, addresses: readonly string[]): void {
    this.#options.log.info({ host, addresses }, 'server address changed');
    for (const server of this.servers) {
      if (server.hostName !== host || addresses.includes(server.address.host)) continue;
      outdate(server, 'address_changed');
    }
  }

  #watch(): void {
    for (const stop of this.#stopWatching) stop();
    this.#stopWatching = this.database.hosts.map((host) =>
      this.#finder.watch(host, (addresses) => this.#onAddresses(host, addresses)),
    );
  }

  #replaceServers(gate: LoginGate): void {
    // They may be others at the new ones, and belong to a client for its whole life.
    this.#parameters = null;
    // One that goes may bring about that another one does.
    const servers = [...this.servers];
    for (const server of servers) outdate(server, 'config_changed');
    for (const server of this.#connector.restart(gate)) server.close('config_changed');
    this.dedicated.restart(gate);
  }

  /** By how many there are more servers than there may be, without those that are on their way out. */
  get #excess(): number {
    const { poolSize, reservePoolSize } = this.settings;
    return poolSize === 0 ? 0 : this.servers.total - this.servers.count('closing') - poolSize - reservePoolSize;
  }

  /** There is a server that has told, or will tell, what parameters a client begins with. */
  get #knowsServer(): boolean {
    if (this.servers.alive === 0) return false;
    for (const server of this.servers) {
      const isUsable = server.state !== 'connecting' && server.state !== 'closing' && server.state !== 'dedicated';
      if (isUsable && server.closeWhenFree === null) return true;
    }
    return false;
  }

  #log(level: 'info' | 'warn', server: ServerConnection, message: string): void {
    const { host, port } = server.address;
    this.#options.log[level](
      { database: this.databaseName, user: this.userName, server: `${host}:${port}`, pid: server.backendPid },
      message,
    );
  }
}

/** `server` goes as soon as nobody needs it. */
function outdate(server: ServerConnection, reason: ServerCloseReason): void {
  if (server.state === 'idle') {
    server.close(reason);
    return;
  }
  server.closeWhenFree ??= reason;
  server.holder?.onServerOutdated();
}
