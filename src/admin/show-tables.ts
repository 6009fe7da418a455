/**
 * THE table of what SHOW can show: name, columns, the right that it needs, and how its rows are made of snapshots. It
 * knows nothing else of the pooler. Columns, types and order are PgBouncer 1.25's; further ones may only follow them.
 */
import { CONSOLE_DATABASE } from '../client/console-handler.ts';
import type { Setting } from '../config/setting.ts';
import { sections } from '../config/settings.ts';
import type { CellValue, Column, ColumnType } from '../protocol/row-messages.ts';
import type { ConsoleRight } from './console-right.ts';
import {
  activeSocketRows,
  CONNECTION_COLUMNS,
  clientRows,
  FD_COLUMNS,
  fdRows,
  SOCKET_COLUMNS,
  serverRows,
  socketRows,
} from './show-connections.ts';
import type { ShowSource } from './show-source.ts';
import {
  STATS_AVERAGES_COLUMNS,
  STATS_COLUMNS,
  STATS_TOTALS_COLUMNS,
  statsAveragesRows,
  statsRows,
  statsTotalsRows,
  TOTALS_COLUMNS,
  totalsRows,
} from './show-statistics.ts';

export interface ShowTable {
  /** In lower case. */
  readonly name: string;
  readonly right: ConsoleRight;
  readonly columns: readonly Column[];
  readonly documentation: string;
  rows(source: ShowSource): CellValue[][];
}

/** `types`: a letter for each name, PgBouncer's own: s text, i int4, q int8. */
function columns(types: string, names: string): readonly Column[] {
  const letters: Readonly<Record<string, ColumnType>> = { s: 'text', i: 'int4', q: 'int8' };
  return names.split(' ').map((name, index) => ({ name, type: letters[types[index] ?? '']! }));
}

const SHOW_DATABASES: ShowTable = {
  name: 'databases',
  right: 'stats',
  columns: columns(
    'ssissiiiissiiiiii',
    'name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode load_balance_hosts max_connections current_connections max_client_connections current_client_connections paused disabled',
  ),
  documentation: 'Every database: where it is, its limits, and whether it is paused or disabled.',
  rows: (source) => {
    const { settings } = source.config();
    const rows = source
      .snapshot()
      .databases.map((database): CellValue[] => [
        database.name,
        database.hosts.join(','),
        database.port,
        database.serverDatabase,
        database.forcedUser,
        database.poolSize,
        database.minPoolSize,
        database.reservePoolSize,
        database.serverLifetimeMs / 1000,
        database.poolMode,
        database.hosts.length > 1 ? (database.loadBalanceHosts ?? settings.loadBalanceHosts) : null,
        database.maxConnections,
        database.connections,
        database.maxClientConnections,
        database.clientConnections,
        Number(database.isPaused),
        Number(database.isDisabled),
      ]);
    const clients = source.consoles().clients.length;
    const lifetime = settings.serverLifetimeMs / 1000;
    const [name, port] = [CONSOLE_DATABASE, settings.listenPort];
    rows.push([name, null, port, name, name, 2, 0, 0, lifetime, 'statement', null, 0, 0, 0, clients, 0, 0]);
    return sorted(rows);
  },
};

const SHOW_POOLS: ShowTable = {
  name: 'pools',
  right: 'stats',
  columns: columns(
    'ssiiiiiiiiiiiiiss',
    'database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts',
  ),
  documentation: 'Every pool: its clients and servers by state, and how long the first in its queue has waited.',
  rows: (source) => {
    const { pools, databases } = source.snapshot();
    const { loadBalanceHosts } = source.config().settings;
    const entries = new Map(databases.map((database) => [database.name, database]));
    const rows = pools.map((pool): CellValue[] => {
      const { servers } = pool;
      const database = entries.get(pool.database);
      const waitedUs = Math.round(pool.oldestWaiterMs * 1000);
      return [
        pool.database,
        pool.user,
        pool.activeClients,
        pool.waitingClients,
        pool.activeCancels,
        pool.waitingCancels,
        servers.linked + servers.dedicated + servers.preparing + servers.recovering,
        pool.activeCancels,
        servers.cancelling,
        servers.idle,
        0,
        servers.testing + servers.resetting,
        servers.connecting,
        Math.trunc(waitedUs / 1e6),
        waitedUs % 1e6,
        pool.mode,
        (database?.hosts.length ?? 0) > 1 ? (database?.loadBalanceHosts ?? loadBalanceHosts) : null,
      ];
    });
    const clients = source.consoles().clients.length;
    const zeros = Array.from<number>({ length: 12 }).fill(0);
    rows.push([CONSOLE_DATABASE, CONSOLE_DATABASE, clients, ...zeros, 'statement', null]);
    return sorted(rows);
  },
};

const SHOW_LISTS: ShowTable = {
  name: 'lists',
  right: 'stats',
  columns: columns('si', 'list items'),
  documentation: 'How many there are of what. What a garbage collector keeps for later use is 0.',
  rows: (source) => {
    const { databases, pools, users, clients, dns } = source.snapshot();
    const peers = source.peers().length;
    const logged = clients.identities.reduce((sum, { idle, waiting, active }) => sum + idle + waiting + active, 0);
    const servers = pools.flatMap((pool) => Object.values(pool.servers)).reduce((sum, count) => sum + count, 0);
    return [
      ['databases', databases.length + 1],
      ['users', users],
      ['peers', peers],
      ['pools', pools.length + 1],
      ['peer_pools', peers],
      ['free_clients', 0],
      ['used_clients', logged + source.consoles().clients.length],
      ['login_clients', clients.loggingIn],
      ['free_servers', 0],
      ['used_servers', servers],
      ['dns_names', dns.names],
      ['dns_zones', 0],
      ['dns_queries', dns.lookups],
      ['dns_pending', 0],
    ];
  },
};

const SHOW_USERS: ShowTable = {
  name: 'users',
  right: 'stats',
  columns: columns(
    'ssssiiii',
    'name pool_size reserve_pool_size pool_mode max_user_connections current_connections max_user_client_connections current_client_connections',
  ),
  documentation:
    'Every user whose secret or settings are known, or who is there: limits, and how much of them is used.',
  rows: (source) =>
    source
      .details()
      .users.map((user) => [
        user.name,
        size(user.poolSize),
        size(user.reservePoolSize),
        user.poolMode,
        user.maxConnections,
        user.connections,
        user.maxClientConnections,
        user.clientConnections,
      ]),
};

/** Right-aligned in a text, as PgBouncer has it. */
function size(value: number | null): string {
  return value === null ? '' : String(value).padStart(9);
}

const SHOW_CONFIG: ShowTable = {
  name: 'config',
  right: 'stats',
  columns: columns('ssss', 'key value default changeable'),
  documentation: 'Every setting of the section `pgbouncer`; `changeable`: by RELOAD or SET, without a restart.',
  rows: (source) => {
    const values = new Map<string, unknown>(Object.entries(source.config().settings));
    const table: readonly Setting[] = sections.pgbouncer;
    return sorted(
      table.map((setting) => [
        setting.name,
        written(setting, values.get(setting.key)),
        written(setting, setting.default),
        setting.applies === 'reload' ? 'yes' : 'no',
      ]),
    );
  },
};

/** As the setting is written, but for PgBouncer's 0 and 1. */
function written({ kind }: Setting, value: unknown): string {
  return kind.type === 'boolean' ? String(Number(value)) : kind.format(value);
}

const SHOW_MEM: ShowTable = {
  name: 'mem',
  right: 'stats',
  columns: columns('siiii', 'name size used free memtotal'),
  documentation: 'Memory of the process in units of `size` bytes: of objects, of buffers, and all that is resident.',
  rows: (source) => {
    const { heapTotalBytes, heapUsedBytes, externalBytes, residentBytes } = source.snapshot().process;
    return [
      memory('heap', heapUsedBytes, heapTotalBytes),
      memory('external', externalBytes, externalBytes),
      memory('resident', residentBytes, residentBytes),
    ];
  },
};

function memory(name: string, usedBytes: number, totalBytes: number): CellValue[] {
  const [used, total] = [Math.ceil(usedBytes / 1024), Math.ceil(totalBytes / 1024)];
  return [name, 1024, used, total - used, totalBytes];
}

const SHOW_STATE: ShowTable = {
  name: 'state',
  right: 'stats',
  columns: columns('ss', 'key value'),
  documentation: 'Whether the pooler is active, paused or suspended as a whole.',
  rows: ({ pauseState }) =>
    (['active', 'paused', 'suspended'] as const).map((state) => [state, state === pauseState ? 'yes' : 'no']),
};

const SHOW_PEERS: ShowTable = {
  name: 'peers',
  right: 'stats',
  columns: columns('isii', 'peer_id host port pool_size'),
  documentation: 'The other poolers of the group.',
  rows: (source) => source.peers().map(({ id, host, port, poolSize }) => [id, host, port, poolSize]),
};

const SHOW_PEER_POOLS: ShowTable = {
  name: 'peer_pools',
  right: 'stats',
  columns: columns('iiiii', 'peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login'),
  documentation: 'Cancels that are passed on to the other poolers of the group.',
  rows: (source) =>
    source
      .peers()
      .map(({ id, activeCancels, waitingCancels, connecting }) => [
        id,
        activeCancels,
        waitingCancels,
        activeCancels,
        connecting,
      ]),
};

const SHOW_DNS_HOSTS: ShowTable = {
  name: 'dns_hosts',
  right: 'stats',
  columns: columns('sqs', 'hostname ttl addrs'),
  documentation: 'Host names that were looked up, for how many seconds their addresses still hold, and the addresses.',
  rows: (source) =>
    sorted(source.details().hosts.map(({ name, ttlMs, addresses }) => [name, ttlMs / 1000, addresses.join(',')])),
};

function connections(
  name: string,
  shape: readonly Column[],
  rows: ShowTable['rows'],
  documentation: string,
): ShowTable {
  return { name, right: 'stats', columns: shape, rows, documentation };
}

export const SHOW_TABLES: readonly ShowTable[] = [
  SHOW_DATABASES,
  SHOW_POOLS,
  connections('clients', CONNECTION_COLUMNS, clientRows, 'Every client that is logged in.'),
  connections('servers', CONNECTION_COLUMNS, serverRows, 'Every connection to PostgreSQL that is not on its way out.'),
  connections('sockets', SOCKET_COLUMNS, socketRows, 'Clients and servers, with what lies in their buffers.'),
  connections('active_sockets', SOCKET_COLUMNS, activeSocketRows, 'As SOCKETS, those with something in a buffer.'),
  connections('stats', STATS_COLUMNS, statsRows, 'Sums since the start, and averages over the last stats_period.'),
  connections('stats_totals', STATS_TOTALS_COLUMNS, statsTotalsRows, 'The sums of STATS.'),
  connections('stats_averages', STATS_AVERAGES_COLUMNS, statsAveragesRows, 'The averages of STATS.'),
  connections('totals', TOTALS_COLUMNS, totalsRows, 'STATS over all databases.'),
  SHOW_LISTS,
  SHOW_USERS,
  SHOW_CONFIG,
  SHOW_MEM,
  SHOW_STATE,
  {
    name: 'version',
    right: 'stats',
    columns: columns('s', 'version'),
    documentation: 'The version of this program.',
    rows: (source) => [[`tsbouncer ${source.snapshot().version}`]],
  },
  SHOW_PEERS,
  SHOW_PEER_POOLS,
  SHOW_DNS_HOSTS,
  {
    name: 'dns_zones',
    right: 'stats',
    columns: columns('sqi', 'zonename serial count'),
    documentation: 'Always empty: no zone is watched.',
    rows: () => [],
  },
  {
    name: 'fds',
    right: 'admin',
    columns: FD_COLUMNS,
    documentation: 'Whose connections there are. Descriptors are not passed on; keys and passwords are never shown.',
    rows: fdRows,
  },
];

/** By the first column, then by the second. */
function sorted(rows: readonly CellValue[][]): CellValue[][] {
  return [...rows].sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

function sortKey([first, second]: CellValue[]): string {
  return `${String(first)}\0${String(second)}`;
}
