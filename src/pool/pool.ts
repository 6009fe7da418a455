/**
 * The server connections of one (database, user), and who waits for them. It decides who is next, when a connection is
 * opened, and what has to happen to one before it is used again. It knows no client: a waiter is all it sees.
 */
import type { ClientCloseReason, ServerCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import { LinkedList } from '../base/linked-list.ts';
import type { DatabaseConfig } from '../config/config.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { ErrorFields } from '../protocol/error-fields.ts';
import { STATUS_IDLE } from '../protocol/message-type.ts';
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
import { IdlePicker } from './idle-picker.ts';
import { LearnedParameters } from './learned-parameters.ts';
import { PoolDemand } from './pool-demand.ts';
import { budgetScopes, type PoolOptions } from './pool-options.ts';
import { ResetPolicy } from './reset-policy.ts';
import { blamesParameters, failureReport, failureWords, ServerHealth } from './server-health.ts';
import { ServerLifetime } from './server-lifetime.ts';
import { ServerLists } from './server-lists.ts';
import { ServerLog } from './server-log.ts';
import { ServerOpener, type ServerPlace } from './server-opener.ts';
import { UncertainSlots } from './uncertain-slots.ts';
import { firstSinceMs, type LoginWaiter, type Waiter } from './waiter.ts';

/** States in which a client has the server, or something that a client has left is brought to its end. */
const STAYS_FOR_ITS_CLIENT: ReadonlySet<ServerState> = new Set(['linked', 'dedicated', 'recovering']);

export class Pool implements ServerOwner, ConnectorOwner, DedicatedServersOwner {
  readonly databaseName: string;
  readonly userName: string;
  readonly traffic = new TrafficCounters();
  readonly servers = new ServerLists();
  readonly waiting = new LinkedList<Waiter>();
  /** What clients are told of servers, and whose logins wait for it. */
  readonly learned = new LearnedParameters();
  /** For clients that share no server: replication. */
  readonly dedicated: DedicatedServers;
  readonly connector: Connector;
  readonly health = new ServerHealth();
  readonly canonical = new CanonicalValues();
  readonly parameterTable = new ParameterTable();
  readonly cancels: CancelLane;
  readonly scopes: readonly BudgetScope[];
  readonly demand: PoolDemand;
  readonly lifetime = new ServerLifetime();
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
  readonly #finder: HostFinder;
  readonly #opener: ServerOpener;
  readonly #log: ServerLog;
  readonly #idle: IdlePicker;
  readonly #resets: ResetPolicy;
  readonly #uncertainSlots: UncertainSlots;
  /** Those that run connect_query: on their way still, though they have logged in. */
  readonly #introducing = new Set<ServerConnection>();
  #stopWatching: (() => void)[] = [];
  /** What everybody is told since the pool serves no more. */
  #stopped: ErrorReport | null = null;

  constructor(options: PoolOptions) {
    const { environment, database, poolSettings, resolver } = options;
    this.#options = options;
    this.databaseName = options.databaseName;
    this.userName = options.userName;
    this.emptySinceMs = environment.now();
    this.#idle = new IdlePicker(options.settings, this.servers, this.emptySinceMs, (server) =>
      this.#becomeIdle(server),
    );
    this.#resets = new ResetPolicy(options.settings, poolSettings);
    this.#uncertainSlots = new UncertainSlots(environment, () => this.#grow());
    this.cancels = new CancelLane(environment, poolSettings.poolSize);
    const { hosts, port } = database;
    this.#finder = new HostFinder(resolver, { hosts, port, policy: poolSettings.loadBalanceHosts });
    this.scopes = budgetScopes(options);
    this.demand = new PoolDemand(this, {
      idle: this.#idle,
      introducing: this.#introducing,
      uncertainSlots: this.#uncertainSlots,
      now: () => environment.now(),
    });
    const shared = { ...options, finder: this.#finder, demand: this.demand };
    this.connector = new Connector({ ...shared, health: this.health, owner: this });
    this.dedicated = new DedicatedServers({ ...shared, pool: this });
    this.#log = new ServerLog(options.log, this.databaseName, this.userName);
    this.#opener = new ServerOpener(options, this, this.parameterTable);
    this.#stopWatching = hosts.map((host) =>
      this.#finder.watch(host, (addresses) => this.#onAddresses(host, addresses)),
    );
  }

  get settings(): PoolSettings {
    return this.#options.poolSettings;
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
    return this.#options.database;
  }

  // For clients

  /** Why nobody is served any more; null while the pool serves. */
  get stopped(): ErrorReport | null {
    return this.#stopped;
  }

  /** Why there is no point in asking now; null if there is. */
  get refusal(): ErrorReport | null {
    if (this.#stopped !== null) return this.#stopped;
    if (!this.health.isFailing || this.health.isTemporary || this.servers.alive > 0) return null;
    if (this.health.mayTry(this.#options.environment.now(), 0)) return null;
    return this.health.reportForNewcomers();
  }

  /** An idle server for `waiter` now, or null: then it waits its turn and hears of it. */
  acquire(waiter: Waiter): ServerConnection | null {
    const { waiting, servers } = this;
    // Idle servers that were passed over are due for a check, one for each who waits; and who waits longer comes first.
    if (waiting.size > 0 && servers.idle.size > 0 && this.#idle.promptChecks <= waiting.size) this.#serve();
    const server = this.demand.isAwaited(waiter.startup) ? null : this.#idle.next(waiter.startup.key);
    if (server !== null) {
      this.traffic.assignments++;
      return server;
    }
    waiter.waitingSinceMs = this.#options.environment.now();
    waiter.waitNotified = false;
    waiting.push(waiter);
    this.connector.grow();
    this.demand.replaceable(waiter, waiting.size)?.close('replaced');
    return null;
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
    if (waiter.list !== this.waiting) return;
    this.waiting.remove(waiter);
    this.connector.shrink();
  }

  /** Cancels what `server` runs as long as it runs the same thing. */
  cancel(server: ServerConnection, isWanted: () => boolean): void {
    this.cancels.start(server, isWanted);
  }

  // ServerOwner

  onServerLoggedIn(server: ServerConnection): void {
    this.connects++;
    if (this.dedicated.owns(server)) {
      this.dedicated.loggedIn(server);
      return;
    }
    this.connector.succeeded(server);
    const { connectQuery } = this.settings;
    if (connectQuery === null || server.closeWhenFree !== null) {
      this.learned.learn(server.reported, server.startup);
      this.#becomeIdle(server);
      return;
    }
    this.#introducing.add(server);
    server.run('preparing', connectQuery, (error) => {
      this.#introducing.delete(server);
      // As in PgBouncer: said, and otherwise ignored.
      if (error !== null) this.#log.warn(server, `connect_query failed: ${error.message}`);
      if (server.status === STATUS_IDLE) {
        this.learned.learn(server.parameters.current(server.reported), server.startup);
        this.onServerFree(server);
        return;
      }
      server.close('transaction_left_open');
      this.#fail({ kind: 'impossible', reason: 'connect_query leaves a transaction open' });
    });
  }

  onServerFailed(server: ServerConnection, failure: ServerFailure): void {
    if (this.dedicated.owns(server)) this.dedicated.failed(server, failure);
    else if (this.connector.failed(server, failure)) this.#onLoginFailed(server, failure);
    this.#log.warn(server, `server login failed: ${failureWords(failure)}`);
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
    );
  }

  onCancelsEnded(server: ServerConnection): void {
    this.#uncertainSlots.cancelsEnded(server);
  }

  onServerMoved(server: ServerConnection, to: ServerState): void {
    this.servers.move(server, to);
    if (to === 'closing' && this.#introducing.delete(server) && this.#stopped === null) {
      this.#fail({ kind: 'unreachable', reason: 'connection lost during connect_query' });
    }
    // It may have been on trial for somebody who can have another one. One that is replaced was idle.
    if (to !== 'closing' || server.closeReason === 'replaced') return;
    if (this.waiting.size > 0 && this.servers.idle.size > 0) this.#serve();
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
    this.#log.info(server, `closing server: ${reason}`);
    this.#grow();
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

  open(place: ServerPlace, dedicated?: ReadonlyMap<string, string>): ServerConnection {
    const startup = dedicated === undefined ? this.demand.nextStartup() : StartupSet.NONE;
    const server = this.#opener.open(place, startup, dedicated);
    this.servers.move(server, 'connecting');
    return server;
  }

  onUnreachable(failure: ServerFailure): void {
    this.#fail(failure);
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

  /** Serves nobody from now on: who waits, and who comes, gets `report`; servers are closed as they become free. */
  stop(report: ErrorReport, clientReason: ClientCloseReason): void {
    this.#stopped = report;
    for (const stop of this.#stopWatching) stop();
    this.#stopWatching = [];
    this.#refuseAll(report, clientReason);
    this.connector.stop();
    this.dedicated.stop(report, clientReason);
    for (const server of this.servers) {
      if (STAYS_FOR_ITS_CLIENT.has(server.state)) server.closeWhenFree = 'shutdown';
      else server.close('shutdown');
    }
  }

  /** Closes every server now, whatever it is doing. */
  closeServers(reason: ServerCloseReason): void {
    for (const server of this.servers) server.close(reason);
  }

  /** Opens what is missing, first for who has waited longest. */
  #grow(): void {
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
    const { environment, settings } = this.#options;
    this.health.failed(failure, environment.now(), settings.serverLoginRetryMs);
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
    if (this.lifetime.isOver(server, server.times.answeredAtMs, this.settings)) {
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

  /** Gives idle servers to those who have waited longest; who came later gets what is of no use to those before. */
  #serve(): void {
    const nowMs = this.#options.environment.now();
    let passed = 0;
    for (let waiter = this.waiting.first; waiter !== null && this.servers.idle.size > 0; ) {
      const { key } = waiter.startup;
      const server = this.#idle.next(key);
      if (server !== null) {
        this.waiting.remove(waiter);
        this.traffic.waitMs += nowMs - waiter.waitingSinceMs;
        this.traffic.assignments++;
        waiter.onServer(server);
        waiter = this.waiting.first;
        passed = 0;
        continue;
      }
      if (passed === 0) this.connector.grow();
      for (; waiter !== null && waiter.startup.key === key; waiter = waiter.next) {
        this.demand.replaceable(waiter, ++passed)?.close('replaced');
      }
    }
    this.connector.shrink();
  }

  #onAddresses(host: string, addresses: readonly string[]): void {
    this.#options.log.info({ host, addresses }, 'server address changed');
    for (const server of this.servers) {
      if (server.hostName !== host || addresses.includes(server.address.host)) continue;
      if (server.state === 'idle') server.close('address_changed');
      else server.closeWhenFree ??= 'address_changed';
    }
  }
}
