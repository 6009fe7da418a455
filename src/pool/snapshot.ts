/**
 * The pooler as console and metrics see it: plain data of one moment, and how the part that the pools know is taken. It
 * knows neither who reads it nor what anything is called there, and a secret has no place in it.
 *
 * With several worker processes each takes a snapshot of its own. How one comes of several is said at every field:
 * *summed*; *maximised*, also for what is the same everywhere but while a reload goes round; or *joined*, rows with the
 * same key becoming one row by the same rules.
 */
import type { ClientCloseReason, ServerCloseReason } from '../base/close-reason.ts';
import type { Config, DatabaseConfig } from '../config/config.ts';
import type { LoadBalanceHosts, PoolMode } from '../config/settings.ts';
import { SERVER_STATES, type ServerState } from '../server/server-state.ts';
import { type TrafficCounter, TrafficCounters } from '../server/traffic-counters.ts';
import type { DatabaseStates } from './database-states.ts';
import type { Pool } from './pool.ts';
import type { PoolTotals } from './pool-totals.ts';

export interface PoolerSnapshot extends PoolsSnapshot {
  /** `ready` while clients are accepted. Maximised in the order ready, starting, draining. */
  readonly state: 'starting' | 'ready' | 'draining';
  /** Of this program. Maximised. */
  readonly version: string;
  /** Joined field by field. */
  readonly clients: ClientsSnapshot;
  /** Users whose secrets are known. Maximised. */
  readonly users: number;
  /** Joined field by field. */
  readonly dns: DnsSnapshot;
  /** Joined field by field. */
  readonly limits: LimitsSnapshot;
  /** Joined field by field. */
  readonly process: ProcessSnapshot;
}

export interface PoolsSnapshot {
  /** Joined by database and user. */
  readonly pools: readonly PoolSnapshot[];
  /** Every entry of the configuration, and every name that the fallback entry serves. Joined by name. */
  readonly databases: readonly DatabaseSnapshot[];
  /** One for each PostgreSQL that some pool is for. Joined by name. */
  readonly budgets: readonly BudgetSnapshot[];
  /** Of all pools, also of those that were dropped. Joined field by field. */
  readonly servers: ServerTotals;
}

export interface PoolSnapshot extends ServerTotals {
  /** Key: the name that clients use. */
  readonly database: string;
  /** Key: who the pool is at the server. */
  readonly user: string;
  /** Maximised. */
  readonly mode: PoolMode;
  /** 0 is no limit. Maximised: workers hold leases of a whole that they all know. */
  readonly size: number;
  /** Maximised. */
  readonly minSize: number;
  /** Maximised. */
  readonly reserveSize: number;
  /** Clients that wait for nothing, with a server or without one. Summed. */
  readonly activeClients: number;
  /** Clients that wait for a server, or in their login for the first server's parameters. Summed. */
  readonly waitingClients: number;
  /** Cancels on their way to the server. Summed. */
  readonly activeCancels: number;
  /** Cancels that wait for their turn. Summed. */
  readonly waitingCancels: number;
  /** Connections by state. Summed. */
  readonly servers: Readonly<Record<OpenServerState, number>>;
  /** For how long the first in the queue has waited; 0 without one. Maximised. */
  readonly oldestWaiterMs: number;
  /** Age of the oldest transaction; 0 without one. Maximised. */
  readonly oldestTransactionMs: number;
  /** For how long a client has kept its transaction open without asking for anything; 0 without one. Maximised. */
  readonly oldestIdleInTransactionMs: number;
  /** The last login to the server has failed, and none has succeeded since. Maximised: one worker's trouble is one. */
  readonly isFailing: boolean;
  /** Summed. */
  readonly traffic: TrafficSnapshot;
}

type OpenServerState = Exclude<ServerState, 'closed'>;

const OPEN_STATES = SERVER_STATES.filter((state): state is OpenServerState => state !== 'closed');

/** What is in `TrafficCounters`. Each is summed. */
type TrafficSnapshot = { readonly [Counter in TrafficCounter]: number };

interface ServerTotals {
  /** Logins to PostgreSQL that succeeded. Summed. */
  readonly connects: number;
  /** Connections closed, by reason; a reason that never was is missing. Summed. */
  readonly closed: Readonly<Partial<Record<ServerCloseReason, number>>>;
  /** Those of them whose end PostgreSQL has not confirmed. Summed. */
  readonly closedUnconfirmed: number;
}

/** Limits of 0 are no limit. */
export interface DatabaseSnapshot {
  /** Key: the name that clients use. */
  readonly name: string;
  /** Maximised. */
  readonly hosts: readonly string[];
  /** Maximised. */
  readonly port: number;
  /** What the database is called at the server. Maximised. */
  readonly serverDatabase: string;
  /** Null without one. Maximised. */
  readonly forcedUser: string | null;
  /** Maximised. */
  readonly poolSize: number;
  /** Maximised. */
  readonly minPoolSize: number;
  /** Maximised. */
  readonly reservePoolSize: number;
  /** Maximised. */
  readonly serverLifetimeMs: number;
  /** Null where it is the one of all databases. Maximised. */
  readonly poolMode: PoolMode | null;
  /** Null where it is the one of all databases. Maximised. */
  readonly loadBalanceHosts: LoadBalanceHosts | null;
  /** Maximised. */
  readonly maxConnections: number;
  /** Connections that count against it. Summed. */
  readonly connections: number;
  /** Maximised. */
  readonly maxClientConnections: number;
  /** Summed. */
  readonly clientConnections: number;
  /** Maximised. */
  readonly isPaused: boolean;
  /** Maximised. */
  readonly isDisabled: boolean;
  /** Of all its pools, also of those that were dropped. Summed. */
  readonly traffic: TrafficSnapshot;
}

interface BudgetSnapshot {
  /** Key: the budget's name, or hosts and port. */
  readonly name: string;
  /** 0 is no limit. Maximised. */
  readonly limit: number;
  /** Leases that are held. Summed. */
  readonly inUse: number;
}

export interface ClientsSnapshot {
  /** Who is logged in. Joined by database and user. */
  readonly identities: readonly ClientIdentitySnapshot[];
  /** Summed. */
  readonly loggingIn: number;
  /** Open sockets of clients, whatever they are for. Summed. */
  readonly sockets: number;
  /** Connections that were refused before they were clients, by the SQLSTATE they were told. Joined by it, summed. */
  readonly refused: readonly { readonly sqlstate: string; readonly count: number }[];
  /** Clients whose session ended, by reason; a reason that never was is missing. Summed. */
  readonly closed: Readonly<Partial<Record<ClientCloseReason, number>>>;
}

/** `application_name` is not here: clients choose it, so it could have any number of values. */
export interface ClientIdentitySnapshot {
  /** Key. */
  readonly database: string;
  /** Key: as whom the client has logged in, also where the pool has another user. */
  readonly user: string;
  /** Without a server, and not waiting for one. Summed. */
  readonly idle: number;
  /** Summed. */
  readonly waiting: number;
  /** With a server. Summed. */
  readonly active: number;
}

interface LimitsSnapshot {
  /** Maximised. */
  readonly maxClientConnections: number;
  /** 0 is no limit. Maximised. */
  readonly maxUserConnections: number;
}

interface DnsSnapshot {
  /** Host names whose addresses are remembered. Summed. */
  readonly names: number;
  /** Names that are being looked up. Summed. */
  readonly lookups: number;
}

export interface ProcessSnapshot {
  /** Wall clock. The least of all counts. */
  readonly startedAtEpochMs: number;
  /** Processor time in user and system mode. Summed. */
  readonly cpuMs: number;
  /** Summed, which counts shared pages more than once. */
  readonly residentBytes: number;
  /** Summed. */
  readonly heapTotalBytes: number;
  /** Summed. */
  readonly heapUsedBytes: number;
  /** Memory of buffers outside the heap. Summed. */
  readonly externalBytes: number;
  /** Open descriptors; null where the system does not say cheaply. Summed. */
  readonly descriptors: number | null;
  /** Null where the system does not say, or sets no limit. Maximised. */
  readonly maxDescriptors: number | null;
  /** By how much timers were late. Summed. */
  readonly eventLoopLag: HistogramSnapshot;
}

export interface HistogramSnapshot {
  /** Ascending, in milliseconds. Maximised. */
  readonly boundsMs: readonly number[];
  /** Observations up to each bound and above the one before it; the last is of those above all. Summed, each. */
  readonly counts: readonly number[];
  /** Summed. */
  readonly sumMs: number;
}

export interface PoolSources {
  readonly pools: Iterable<Pool>;
  /** What the pools that were dropped had done. */
  readonly dropped: PoolTotals;
  readonly budget: { inUse(scopeKey: string): number };
  readonly config: Config;
  readonly nowMs: number;
  readonly states: DatabaseStates;
}

/** Takes time in proportion to pools, their servers, and databases; never to clients. */
export function snapshotPools({ pools, dropped, budget, config, nowMs, states }: PoolSources): PoolsSnapshot {
  const rows: PoolSnapshot[] = [];
  const totals = dropped.copy();
  const byDatabase = new Map<string, Pool[]>([...config.databases.keys()].map((name) => [name, []]));
  const budgets = new Map<string, BudgetSnapshot>();
  const rowKeys = new Set<string>();
  for (const pool of pools) {
    totals.add(pool);
    // One that a reload has ended may have a successor of the same name, which comes before it.
    const rowKey = `${pool.databaseName}\0${pool.userName}`;
    if (rowKeys.has(rowKey)) continue;
    rowKeys.add(rowKey);
    rows.push(snapshotPool(pool, nowMs));
    const siblings = byDatabase.get(pool.databaseName);
    if (siblings === undefined) byDatabase.set(pool.databaseName, [pool]);
    else siblings.push(pool);
    const { budgetKey: name, maxServerConnections: limit } = pool.settings;
    budgets.set(name, { name, limit, inUse: inUse(pool, 'postgres', budget) });
  }
  const databases: DatabaseSnapshot[] = [];
  for (const [name, siblings] of byDatabase) {
    const entry = config.databases.get(name) ?? siblings[0]?.database;
    if (entry === undefined) continue;
    const [pool] = siblings;
    databases.push({
      ...describeDatabase(name, entry, config),
      connections: pool === undefined ? 0 : inUse(pool, 'database', budget),
      isPaused: states.isStopped(name),
      isDisabled: states.isDisabled(name),
      clientConnections: siblings.reduce((sum, { clients }) => sum + clients, 0),
      traffic: snapshotTraffic(totals.traffic.get(name) ?? new TrafficCounters()),
    });
  }
  return { pools: rows, databases, budgets: [...budgets.values()], servers: serverTotals(totals) };
}

function snapshotPool(pool: Pool, nowMs: number): PoolSnapshot {
  const { settings, cancels, clients, learned } = pool;
  const waiting = pool.waiting.size + pool.dedicated.waiting.size;
  return {
    database: pool.databaseName,
    user: pool.userName,
    mode: settings.poolMode,
    size: settings.poolSize,
    minSize: settings.minPoolSize,
    reserveSize: settings.reservePoolSize,
    activeClients: clients - waiting,
    waitingClients: waiting + learned.waiting.size,
    activeCancels: cancels.active,
    waitingCancels: cancels.waiting,
    servers: countByState(pool),
    oldestWaiterMs: oldestWaiter(pool, nowMs),
    ...oldestTransactions(pool, nowMs),
    isFailing: pool.health.isFailing,
    traffic: snapshotTraffic(pool.traffic),
    ...serverTotals(pool),
  };
}

/** In each list the first is the one that came first. */
function oldestWaiter({ waiting, dedicated, learned }: Pool, nowMs: number): number {
  const [login] = learned.waiting;
  const sinceMs = [waiting.first?.waitingSinceMs, dedicated.waiting.first?.waitingSinceMs, login?.acceptedAtMs];
  return nowMs - Math.min(nowMs, ...sinceMs.map((ms) => ms ?? nowMs));
}

function countByState({ servers }: Pool): Record<OpenServerState, number> {
  const counts: Partial<Record<ServerState, number>> = {};
  for (const state of OPEN_STATES) counts[state] = servers.in(state).size;
  return counts as Record<OpenServerState, number>;
}

/** Only a server that a client has, or has just left, can be in a transaction of a client's. */
function oldestTransactions({ servers }: Pool, nowMs: number) {
  let oldestTransactionMs = 0;
  let oldestIdleInTransactionMs = 0;
  for (const { times } of [...servers.linked, ...servers.in('recovering')]) {
    const { transactionSinceMs, busySinceMs, answeredAtMs } = times;
    if (transactionSinceMs === 0) continue;
    oldestTransactionMs = Math.max(oldestTransactionMs, nowMs - transactionSinceMs);
    if (busySinceMs === 0) oldestIdleInTransactionMs = Math.max(oldestIdleInTransactionMs, nowMs - answeredAtMs);
  }
  return { oldestTransactionMs, oldestIdleInTransactionMs };
}

function snapshotTraffic(traffic: TrafficCounters): TrafficSnapshot {
  const { queries, transactions, queryMs, transactionMs, receivedBytes, sentBytes } = traffic;
  const { waitMs, assignments, logins, clientParses, serverParses, binds } = traffic;
  return {
    queries,
    transactions,
    queryMs,
    transactionMs,
    receivedBytes,
    sentBytes,
    waitMs,
    assignments,
    logins,
    clientParses,
    serverParses,
    binds,
  };
}

function serverTotals({ connects, closedServers, closedUnconfirmed }: Pool | PoolTotals): ServerTotals {
  return { connects, closed: Object.fromEntries(closedServers), closedUnconfirmed };
}

/** `entry` may be the fallback's, which serves `name`. */
function describeDatabase(name: string, entry: DatabaseConfig, { settings }: Config) {
  return {
    name,
    hosts: entry.hosts,
    port: entry.port,
    serverDatabase: entry.dbname ?? name,
    forcedUser: entry.user,
    poolSize: entry.poolSize ?? settings.defaultPoolSize,
    minPoolSize: entry.minPoolSize ?? settings.minPoolSize,
    reservePoolSize: entry.reservePoolSize ?? settings.reservePoolSize,
    serverLifetimeMs: entry.serverLifetimeMs ?? settings.serverLifetimeMs,
    poolMode: entry.poolMode,
    loadBalanceHosts: entry.loadBalanceHosts,
    maxConnections: entry.maxDbConnections ?? settings.maxDbConnections,
    maxClientConnections: entry.maxDbClientConnections ?? settings.maxDbClientConnections,
  };
}

/** Leases held in the scope of that kind that `pool` counts against. */
function inUse(pool: Pool, kind: 'database' | 'postgres', budget: PoolSources['budget']): number {
  const scope = pool.scopes.find(({ key }) => key.startsWith(`${kind} `));
  return scope === undefined ? 0 : budget.inUse(scope.key);
}
