/** SHOW STATS and its kin: one row for each database, in PgBouncer's columns. */
import { CONSOLE_DATABASE } from '../client/console-handler.ts';
import type { CellValue, Column } from '../protocol/row-messages.ts';
import { TrafficCounters } from '../server/traffic-counters.ts';
import type { ShowSource } from './show-source.ts';
import type { Traffic, TrafficAverage } from './traffic-averages.ts';

interface Statistic {
  /** In STATS, behind `total_` and `avg_`. */
  readonly name: string;
  /** Where PgBouncer's averages have another one, behind `avg_`. */
  readonly averageName?: string;
  /** In STATS_TOTALS. */
  readonly totalsName?: string;
  /** In STATS_AVERAGES. */
  readonly averagesName?: string;
  /** In TOTALS, behind `total_` and `avg_`. */
  readonly inside?: string;
  readonly total: (traffic: Traffic) => number;
  readonly average: (average: TrafficAverage) => number;
}

/** In PgBouncer's order. */
const STATISTICS: readonly Statistic[] = [
  { name: 'server_assignment_count', total: (t) => t.assignments, average: (a) => a.assignments },
  { name: 'xact_count', total: (t) => t.transactions, average: (a) => a.transactions },
  { name: 'query_count', total: (t) => t.queries, average: (a) => a.queries },
  {
    name: 'received',
    averageName: 'recv',
    totalsName: 'bytes_received',
    averagesName: 'bytes_received',
    inside: 'client_bytes',
    total: (t) => t.receivedBytes,
    average: (a) => a.receivedBytes,
  },
  {
    name: 'sent',
    totalsName: 'bytes_sent',
    averagesName: 'bytes_sent',
    inside: 'server_bytes',
    total: (t) => t.sentBytes,
    average: (a) => a.sentBytes,
  },
  { name: 'xact_time', total: (t) => t.transactionMs * 1000, average: (a) => a.transactionUs },
  { name: 'query_time', total: (t) => t.queryMs * 1000, average: (a) => a.queryUs },
  { name: 'wait_time', total: (t) => t.waitMs * 1000, average: (a) => a.waitUs },
  {
    name: 'client_parse_count',
    averagesName: 'avg_client_parse_count',
    inside: 'ps_client_parse_count',
    total: (t) => t.clientParses,
    average: (a) => a.clientParses,
  },
  {
    name: 'server_parse_count',
    averagesName: 'avg_server_parse_count',
    inside: 'ps_server_parse_count',
    total: (t) => t.serverParses,
    average: (a) => a.serverParses,
  },
  {
    name: 'bind_count',
    averagesName: 'avg_bind_count',
    inside: 'ps_bind_count',
    total: (t) => t.binds,
    average: (a) => a.binds,
  },
  {
    name: 'client_login_count',
    averagesName: 'avg_client_login_count',
    total: (t) => t.logins,
    average: (a) => a.logins,
  },
];

const DATABASE: Column = { name: 'database', type: 'text' };
const numeric = (name: string): Column => ({ name, type: 'numeric' });

export const STATS_COLUMNS: readonly Column[] = [
  DATABASE,
  ...STATISTICS.map(({ name }) => numeric(`total_${name}`)),
  ...STATISTICS.map(({ name, averageName }) => numeric(`avg_${averageName ?? name}`)),
];
export const STATS_TOTALS_COLUMNS: readonly Column[] = [
  DATABASE,
  ...STATISTICS.map(({ name, totalsName }) => numeric(totalsName ?? name)),
];
export const STATS_AVERAGES_COLUMNS: readonly Column[] = [
  DATABASE,
  ...STATISTICS.map(({ name, averagesName }) => numeric(averagesName ?? name)),
];
export const TOTALS_COLUMNS: readonly Column[] = [{ name: 'name', type: 'text' }, numeric('value')];

export function statsRows(source: ShowSource): CellValue[][] {
  return databasesOf(source).map(({ name, totals, averages }) => [name, ...totals, ...averages]);
}

export function statsTotalsRows(source: ShowSource): CellValue[][] {
  return databasesOf(source).map(({ name, totals }) => [name, ...totals]);
}

export function statsAveragesRows(source: ShowSource): CellValue[][] {
  return databasesOf(source).map(({ name, averages }) => [name, ...averages]);
}

export function totalsRows(source: ShowSource): CellValue[][] {
  const databases = databasesOf(source);
  const rows = (prefix: string, of: 'totals' | 'averages'): CellValue[][] =>
    STATISTICS.map(({ name, inside }, index) => [
      `${prefix}_${inside ?? name}`,
      databases.reduce((sum, database) => sum + (database[of][index] ?? 0), 0),
    ]);
  return [...rows('total', 'totals'), ...rows('avg', 'averages')];
}

interface DatabaseStatistics {
  readonly name: string;
  readonly totals: readonly number[];
  readonly averages: readonly number[];
}

/** By name; the console is one of them. */
function databasesOf(source: ShowSource): DatabaseStatistics[] {
  const { queries, logins } = source.consoles();
  const console = Object.assign(new TrafficCounters(), { queries, logins });
  return [...source.snapshot().databases, { name: CONSOLE_DATABASE, traffic: console }]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, traffic }) => ({
      name,
      totals: STATISTICS.map(({ total }) => Math.round(total(traffic))),
      averages: STATISTICS.map(({ average }) => Math.round(average(source.average(name)))),
    }));
}
