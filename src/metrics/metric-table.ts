/**
 * THE table of metrics. The page at `/metrics` and `docs/metrics.md` are derived from it; it reads nothing but
 * snapshots.
 *
 * Names that begin with `pgbouncer_` are those of prometheus-community/pgbouncer_exporter, with its units and labels, so
 * that dashboards and alerts go on working. What it has no name for begins with `tsbouncer_`, or, where all programs on
 * Node have it, with `nodejs_`.
 */
import { CLIENT_CLOSE_REASONS, SERVER_CLOSE_REASONS } from '../base/close-reason.ts';
import type { ClientIdentitySnapshot, DatabaseSnapshot } from '../pool/snapshot.ts';
import {
  histogram,
  type MetricDefinition,
  perDatabase,
  perPool,
  perReason,
  sample,
  single,
  traffic,
} from './metric-definition.ts';

const SECOND_MS = 1000;

/** Under the exporter's present name, and under the one that it had up to 0.10 and that many dashboards still read. */
function trafficTwice(
  suffix: string,
  help: string,
  value: (traffic: DatabaseSnapshot['traffic']) => number,
): MetricDefinition[] {
  const name = `pgbouncer_stats_totals_${suffix}`;
  return [traffic(name, help, value), traffic(`pgbouncer_stats_${suffix}`, `Former name of ${name}`, value)];
}

const trafficMetrics = [
  trafficTwice('queries_pooled_total', 'Queries that clients were answered', ({ queries }) => queries),
  trafficTwice('queries_total', 'The same as queries_pooled_total', ({ queries }) => queries),
  trafficTwice(
    'queries_duration_seconds_total',
    'Time in which servers had something to answer',
    ({ queryMs }) => queryMs / SECOND_MS,
  ),
  trafficTwice('received_bytes_total', 'Bytes that clients sent', ({ receivedBytes }) => receivedBytes),
  trafficTwice('sent_bytes_total', 'Bytes that clients were sent', ({ sentBytes }) => sentBytes),
  trafficTwice(
    'client_wait_seconds_total',
    'Time that clients waited for a server, counted when they got one',
    ({ waitMs }) => waitMs / SECOND_MS,
  ),
  trafficTwice('sql_transactions_pooled_total', 'Transactions that ended', ({ transactions }) => transactions),
  trafficTwice(
    'server_in_transaction_seconds_total',
    'Time in which servers were in a transaction',
    ({ transactionMs }) => transactionMs / SECOND_MS,
  ),
  traffic(
    'pgbouncer_stats_totals_server_assignments_total',
    'Times that a client was given a server; for new connections see tsbouncer_server_connects_total',
    ({ assignments }) => assignments,
  ),
  traffic(
    'pgbouncer_stats_totals_client_parses_total',
    'Named statements prepared by clients, where they are mapped',
    ({ clientParses }) => clientParses,
  ),
  traffic(
    'pgbouncer_stats_totals_server_parses_total',
    'Named statements prepared on servers, where they are mapped',
    ({ serverParses }) => serverParses,
  ),
  traffic(
    'pgbouncer_stats_totals_binds_total',
    'Binds of named statements, where they are mapped',
    ({ binds }) => binds,
  ),
  traffic('tsbouncer_client_logins_total', 'Logins of clients that succeeded', ({ logins }) => logins),
].flat();

const poolMetrics = [
  perPool(
    'pgbouncer_pools_client_active_connections',
    'Clients that do not wait: with a server, or with nothing to ask',
    ({ activeClients }) => activeClients,
  ),
  perPool(
    'pgbouncer_pools_client_active_cancel_connections',
    'Cancels on their way to the server',
    ({ activeCancels }) => activeCancels,
  ),
  perPool(
    'pgbouncer_pools_client_waiting_connections',
    'Clients that wait for a server, also during their login',
    ({ waitingClients }) => waitingClients,
  ),
  perPool(
    'pgbouncer_pools_client_waiting_cancel_connections',
    'Cancels that wait for others to end',
    ({ waitingCancels }) => waitingCancels,
  ),
  perPool(
    'pgbouncer_pools_server_active_connections',
    'Server connections that serve a client, are made ready for one, or recover from one',
    ({ servers }) => servers.linked + servers.dedicated + servers.preparing + servers.recovering,
  ),
  perPool(
    'pgbouncer_pools_server_active_cancel_connections',
    'Connections that carry a cancel to the server',
    ({ activeCancels }) => activeCancels,
  ),
  perPool(
    'pgbouncer_pools_server_being_canceled_connections',
    'Server connections that are free but for a cancel on its way to them',
    ({ servers }) => servers.cancelling,
  ),
  perPool(
    'pgbouncer_pools_server_idle_connections',
    'Server connections that nobody uses',
    ({ servers }) => servers.idle,
  ),
  perPool(
    'pgbouncer_pools_server_used_connections',
    '0: who has been idle for server_check_delay is tested before its use, and idle until then',
    () => 0,
  ),
  perPool(
    'pgbouncer_pools_server_testing_connections',
    'Server connections that run server_check_query or server_reset_query',
    ({ servers }) => servers.testing + servers.resetting,
  ),
  perPool(
    'pgbouncer_pools_server_login_connections',
    'Server connections that are being opened',
    ({ servers }) => servers.connecting,
  ),
  perPool(
    'tsbouncer_pools_server_closing_connections',
    'Server connections whose end PostgreSQL has not confirmed: they still count against every limit',
    ({ servers }) => servers.closing,
  ),
  perPool(
    'pgbouncer_pools_client_maxwait_seconds',
    'Whole seconds that the first of the waiting clients has waited',
    ({ oldestWaiterMs }) => Math.floor(oldestWaiterMs / SECOND_MS),
  ),
  perPool(
    'tsbouncer_oldest_waiter_seconds',
    'The same with fractions',
    ({ oldestWaiterMs }) => oldestWaiterMs / SECOND_MS,
  ),
  perPool(
    'tsbouncer_oldest_transaction_age_seconds',
    'Age of the oldest open transaction, 0 without one',
    ({ oldestTransactionMs }) => oldestTransactionMs / SECOND_MS,
  ),
  perPool(
    'tsbouncer_oldest_idle_in_transaction_age_seconds',
    'For how long a client has kept a transaction open without asking anything, 0 without one',
    ({ oldestIdleInTransactionMs }) => oldestIdleInTransactionMs / SECOND_MS,
  ),
  perPool('tsbouncer_pools_size', 'Server connections that the pool may have; absent without a limit', ({ size }) =>
    size > 0 ? size : null,
  ),
  perPool(
    'tsbouncer_pools_server_login_failing',
    '1 from a failed login to the server until one succeeds',
    ({ isFailing }) => Number(isFailing),
  ),
];

const databaseMetrics = [
  perDatabase('pgbouncer_databases_pool_size', 'pool_size; 0 is no limit', ({ poolSize }) => poolSize),
  perDatabase('pgbouncer_databases_reserve_pool', 'reserve_pool_size', ({ reservePoolSize }) => reservePoolSize),
  perDatabase(
    'pgbouncer_databases_max_connections',
    'max_db_connections; 0 is no limit',
    ({ maxConnections }) => maxConnections,
  ),
  perDatabase(
    'pgbouncer_databases_current_connections',
    'Server connections that count against max_db_connections',
    ({ connections }) => connections,
  ),
  perDatabase('pgbouncer_databases_paused', '1 while it is paused', ({ isPaused }) => Number(isPaused)),
  perDatabase('pgbouncer_databases_disabled', '1 while it is disabled', ({ isDisabled }) => Number(isDisabled)),
  perDatabase(
    'tsbouncer_databases_max_client_connections',
    'max_db_client_connections; absent without a limit',
    ({ maxClientConnections }) => (maxClientConnections > 0 ? maxClientConnections : null),
  ),
  perDatabase(
    'tsbouncer_databases_current_client_connections',
    'Clients that are logged in',
    ({ clientConnections }) => clientConnections,
  ),
];

const CLIENT_STATES = ['active', 'idle', 'waiting'] as const satisfies readonly (keyof ClientIdentitySnapshot)[];

const totalMetrics: readonly MetricDefinition[] = [
  single('gauge', 'pgbouncer_databases', 'Databases', ({ databases }) => databases.length),
  single('gauge', 'pgbouncer_users', 'Users whose secrets are known', ({ users }) => users),
  single('gauge', 'pgbouncer_pools', 'Pools', ({ pools }) => pools.length),
  single('gauge', 'pgbouncer_free_clients', '0: no memory is kept for clients to come', () => 0),
  single('gauge', 'pgbouncer_used_clients', 'Open sockets of clients', ({ clients }) => clients.sockets),
  single('gauge', 'pgbouncer_login_clients', 'Clients that are logging in', ({ clients }) => clients.loggingIn),
  single('gauge', 'pgbouncer_free_servers', '0: no memory is kept for servers to come', () => 0),
  single('gauge', 'pgbouncer_used_servers', 'Server connections in any state', ({ pools }) =>
    pools.reduce((sum, { servers }) => Object.values(servers).reduce((total, count) => total + count, sum), 0),
  ),
  single('gauge', 'pgbouncer_cached_dns_names', 'Host names that are remembered', ({ dns }) => dns.names),
  single('gauge', 'pgbouncer_cached_dns_zones', '0: zones are not watched', () => 0),
  single('gauge', 'pgbouncer_in_flight_dns_queries', 'Host names that are being looked up', ({ dns }) => dns.lookups),
  single(
    'gauge',
    'pgbouncer_config_max_client_connections',
    'max_client_conn',
    ({ limits }) => limits.maxClientConnections,
  ),
  single(
    'gauge',
    'pgbouncer_config_max_user_connections',
    'max_user_connections; 0 is no limit, so it is no good denominator (tsbouncer_pools_size is)',
    ({ limits }) => limits.maxUserConnections,
  ),
  {
    name: 'pgbouncer_client_connections',
    type: 'gauge',
    help: 'Clients by who they are and what they do; without the label application_name, which clients choose freely',
    labels: ['database', 'user', 'state'],
    read: ({ clients }) =>
      clients.identities.flatMap((identity) =>
        CLIENT_STATES.flatMap((state) => {
          const { database, user } = identity;
          return sample({ database, user, state }, identity[state]);
        }),
      ),
  },
];

const eventMetrics: readonly MetricDefinition[] = [
  {
    name: 'tsbouncer_client_rejected_total',
    type: 'counter',
    help: 'Connections refused before they were logged in, by the SQLSTATE that they were told',
    labels: ['sqlstate'],
    read: ({ clients }) => clients.refused.flatMap(({ sqlstate, count }) => sample({ sqlstate }, count)),
  },
  perReason(
    'tsbouncer_client_closed_total',
    'Sessions of clients that ended',
    CLIENT_CLOSE_REASONS,
    ({ clients }) => clients.closed,
  ),
  single(
    'counter',
    'tsbouncer_server_connects_total',
    'Logins to PostgreSQL that succeeded',
    ({ servers }) => servers.connects,
  ),
  perReason(
    'tsbouncer_server_closed_total',
    'Server connections closed, also those that never got through their login',
    SERVER_CLOSE_REASONS,
    ({ servers }) => servers.closed,
  ),
  single(
    'counter',
    'tsbouncer_server_closed_unconfirmed_total',
    'Those of them whose end PostgreSQL has not confirmed in time',
    ({ servers }) => servers.closedUnconfirmed,
  ),
];

const budgetMetrics: readonly MetricDefinition[] = [
  {
    name: 'tsbouncer_budget_limit',
    type: 'gauge',
    help: 'max_server_connections of one PostgreSQL; absent without a limit',
    labels: ['postgres'],
    read: ({ budgets }) => budgets.flatMap(({ name, limit }) => sample({ postgres: name }, limit > 0 ? limit : null)),
  },
  {
    name: 'tsbouncer_budget_in_use',
    type: 'gauge',
    help: 'Connections to one PostgreSQL, from the start of connect until it has surely let go of them',
    labels: ['postgres'],
    read: ({ budgets }) => budgets.flatMap(({ name, inUse }) => sample({ postgres: name }, inUse)),
  },
];

const processMetrics: readonly MetricDefinition[] = [
  single('gauge', 'pgbouncer_up', '1: who reads this has reached the pooler', () => 1),
  {
    name: 'pgbouncer_version_info',
    type: 'gauge',
    help: 'The version of the pooler, as a label',
    labels: ['version'],
    read: ({ version }) => sample({ version }, 1),
  },
  {
    name: 'pgbouncer_exporter_build_info',
    type: 'gauge',
    help: 'The version of what serves these metrics, which is the pooler itself',
    labels: ['version'],
    read: ({ version }) => sample({ version }, 1),
  },
  single('gauge', 'tsbouncer_ready', '1 while clients are accepted', ({ state }) => Number(state === 'ready')),
  single(
    'counter',
    'pgbouncer_process_cpu_seconds_total',
    'Processor time in user and system mode',
    ({ process }) => process.cpuMs / SECOND_MS,
  ),
  single(
    'gauge',
    'pgbouncer_process_open_fds',
    'Open descriptors; absent where the system does not say',
    (snapshot) => snapshot.process.descriptors,
  ),
  single(
    'gauge',
    'pgbouncer_process_max_fds',
    'Limit of descriptors; absent where there is none',
    (snapshot) => snapshot.process.maxDescriptors,
  ),
  single(
    'gauge',
    'pgbouncer_process_resident_memory_bytes',
    'Memory in use, heap and buffers and all',
    ({ process }) => process.residentBytes,
  ),
  single(
    'gauge',
    'pgbouncer_process_start_time_seconds',
    'When the process started, in seconds since 1970',
    ({ process }) => process.startedAtEpochMs / SECOND_MS,
  ),
  single('gauge', 'nodejs_heap_size_total_bytes', 'Heap of JavaScript', ({ process }) => process.heapTotalBytes),
  single('gauge', 'nodejs_heap_size_used_bytes', 'Used heap of JavaScript', ({ process }) => process.heapUsedBytes),
  single(
    'gauge',
    'nodejs_external_memory_bytes',
    'Memory of buffers outside the heap',
    ({ process }) => process.externalBytes,
  ),
  histogram(
    'tsbouncer_event_loop_lag_seconds',
    'By how much a timer, ten times a second, was late: what a busy process adds to every answer',
    ({ process }) => process.eventLoopLag,
  ),
];

/** In the order in which people read it. */
export const metricGroups = [
  { title: 'Traffic of a database', metrics: trafficMetrics },
  { title: 'Pools', metrics: poolMetrics },
  { title: 'Databases', metrics: databaseMetrics },
  { title: 'Clients, servers, and limits of the whole', metrics: totalMetrics },
  { title: 'What happened', metrics: eventMetrics },
  { title: 'Budgets', metrics: budgetMetrics },
  { title: 'The process', metrics: processMetrics },
] as const satisfies readonly { title: string; metrics: readonly MetricDefinition[] }[];
