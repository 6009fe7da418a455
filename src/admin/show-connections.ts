/** SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS and FDS: one row for each connection, in PgBouncer's columns. */
import type { ClientConnectionSnapshot, ServerConnectionSnapshot } from '../client/detail-snapshot.ts';
import type { CellValue, Column } from '../protocol/row-messages.ts';
import type { ServerState } from '../server/server-state.ts';
import type { ShowSource } from './show-source.ts';

const text = (name: string): Column => ({ name, type: 'text' });
const int4 = (name: string): Column => ({ name, type: 'int4' });

export const CONNECTION_COLUMNS: readonly Column[] = [
  ...['type', 'user', 'database', 'replication', 'state', 'addr'].map(text),
  int4('port'),
  text('local_addr'),
  int4('local_port'),
  ...['connect_time', 'request_time'].map(text),
  ...['wait', 'wait_us', 'close_needed'].map(int4),
  ...['ptr', 'link'].map(text),
  int4('remote_pid'),
  ...['tls', 'application_name'].map(text),
  ...['prepared_statements', 'id'].map(int4),
];

export const SOCKET_COLUMNS: readonly Column[] = [
  ...CONNECTION_COLUMNS,
  ...['recv_pos', 'pkt_pos', 'pkt_remain', 'send_pos', 'send_remain', 'pkt_avail', 'send_avail'].map(int4),
];

export const FD_COLUMNS: readonly Column[] = [
  int4('fd'),
  ...['task', 'user', 'database', 'addr'].map(text),
  int4('port'),
  { name: 'cancel', type: 'int8' },
  int4('link'),
  ...['client_encoding', 'std_strings', 'datestyle', 'timezone', 'password'].map(text),
  { name: 'scram_client_key', type: 'bytea' },
  { name: 'scram_server_key', type: 'bytea' },
];

/** Those that are on their way out are nobody's any more, and not shown. */
const SERVER_WORDS: Readonly<Record<ServerState, string | null>> = {
  connecting: 'new',
  preparing: 'active',
  idle: 'idle',
  testing: 'tested',
  linked: 'active',
  dedicated: 'active',
  recovering: 'active',
  cancelling: 'being_canceled',
  resetting: 'tested',
  closing: null,
  closed: null,
};

const CLIENT_WORDS = { idle: 'idle', waiting: 'waiting', linked: 'active', closed: 'idle' } as const;

export function clientRows(source: ShowSource): CellValue[][] {
  return clientsOf(source).map((client) => clientRow(client, CLIENT_WORDS[client.state]));
}

export function serverRows(source: ShowSource): CellValue[][] {
  return serversOf(source).map(({ server, word }) => serverRow(server, word));
}

export function socketRows(source: ShowSource): CellValue[][] {
  return sockets(source).map(({ row }) => row);
}

/** Those with bytes that are on their way. */
export function activeSocketRows(source: ShowSource): CellValue[][] {
  return sockets(source).flatMap(({ row, isBusy }) => (isBusy ? [row] : []));
}

/** Descriptors are not passed on, so there is nothing to show but whose they are; keys and passwords never are. */
export function fdRows(source: ShowSource): CellValue[][] {
  const { clients, servers } = source.details();
  return [...clients.map((client) => fdRow('client', client)), ...servers.map((server) => fdRow('server', server))];
}

function fdRow(task: string, connection: ClientConnectionSnapshot | ServerConnectionSnapshot): CellValue[] {
  const { user, database, address, port } = connection;
  const secrets = Array.from<null>({ length: FD_COLUMNS.length - 6 }).fill(null);
  return [null, task, user, database, address, port, ...secrets];
}

function clientsOf(source: ShowSource): ClientConnectionSnapshot[] {
  return inOrder([...source.details().clients, ...source.consoles().clients]);
}

function serversOf(source: ShowSource) {
  return inOrder(source.details().servers).flatMap((server) => {
    const word = SERVER_WORDS[server.state];
    return word === null ? [] : [{ server, word }];
  });
}

/** By database and user, as PgBouncer's pools are. */
function inOrder<Row extends { readonly database: string; readonly user: string }>(rows: readonly Row[]): Row[] {
  return [...rows].sort((a, b) => compare(a.database, b.database) || compare(a.user, b.user));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function sockets(source: ShowSource): { readonly row: CellValue[]; readonly isBusy: boolean }[] {
  const all = [
    ...clientsOf(source).map((client) => ({
      connection: client,
      row: clientRow(client, client.state === 'waiting' ? 'cl_waiting' : 'cl_active'),
    })),
    ...serversOf(source).map(({ server, word }) => ({
      connection: server,
      row: serverRow(server, word === 'new' ? 'sv_login' : `sv_${word}`),
    })),
  ];
  return all.map(({ row, connection: { keptBytes, unsentBytes } }) => ({
    row: [...row, keptBytes, 0, 0, 0, unsentBytes, keptBytes, unsentBytes],
    isBusy: keptBytes + unsentBytes > 0,
  }));
}

function clientRow(client: ClientConnectionSnapshot, state: string): CellValue[] {
  const { waitedMs } = client;
  const waitedUs = Math.round(waitedMs * 1000);
  return row('C', client, state, [Math.trunc(waitedUs / 1e6), waitedUs % 1e6, 0], 0);
}

function serverRow(server: ServerConnectionSnapshot, state: string): CellValue[] {
  return row('S', server, state, [0, 0, Number(server.closesWhenFree)], server.backendPid);
}

/** `waits`: whole seconds, the microseconds beside them, and whether it will be closed. */
function row(
  type: 'C' | 'S',
  connection: ClientConnectionSnapshot | ServerConnectionSnapshot,
  state: string,
  waits: readonly [number, number, number],
  remotePid: number,
): CellValue[] {
  const { security, linkId, id } = connection;
  return [
    type,
    connection.user,
    connection.database,
    connection.replication,
    state,
    connection.address,
    connection.port,
    connection.localAddress,
    connection.localPort,
    timestamp(connection.connectedAtEpochMs),
    timestamp(connection.requestedAtEpochMs),
    ...waits,
    pointer(id),
    linkId === null ? '' : pointer(linkId),
    remotePid,
    security === null ? '' : `${security.version}/${security.cipher}`,
    connection.applicationName,
    connection.preparedStatements,
    id,
  ];
}

/** PgBouncer shows an address in its memory; to its readers it is a name for the connection. */
function pointer(id: number): string {
  return `0x${id.toString(16)}`;
}

/** Sweden writes times as PgBouncer does. */
const TIME = new Intl.DateTimeFormat('sv-SE', {
  timeZone: 'UTC',
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

/** As PgBouncer shows it where the clock is UTC. */
function timestamp(epochMs: number): string {
  return `${TIME.format(epochMs)} UTC`;
}
