/**
 * What a metric is, and the few ways in which one is read from a snapshot. It knows no single metric, neither HTTP nor
 * prom-client.
 */
import type { DatabaseSnapshot, HistogramSnapshot, PoolerSnapshot, PoolSnapshot } from '../pool/snapshot.ts';

export interface MetricDefinition {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Every sample has exactly these (a histogram's buckets `le` besides). */
  readonly labels: readonly string[];
  /** For people, in a line, without a full stop. */
  readonly help: string;
  readonly read: (snapshot: PoolerSnapshot) => readonly Sample[];
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** The rest of the series' name: histograms have three kinds of them. */
  readonly suffix?: '_bucket' | '_sum' | '_count';
}

/** Null where there is nothing to be shown. */
type Value = number | null;

const SECOND_MS = 1000;
const NO_LABELS: Sample['labels'] = Object.freeze({});

export function single(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  value: (snapshot: PoolerSnapshot) => Value,
): MetricDefinition {
  return { name, type, help, labels: [], read: (snapshot) => sample(NO_LABELS, value(snapshot)) };
}

export function perPool(name: string, help: string, value: (pool: PoolSnapshot) => Value): MetricDefinition {
  return {
    name,
    type: 'gauge',
    help,
    labels: ['database', 'user'],
    read: ({ pools }) => pools.flatMap((pool) => sample({ database: pool.database, user: pool.user }, value(pool))),
  };
}

/** With the exporter's labels for what SHOW DATABASES shows. */
export function perDatabase(
  name: string,
  help: string,
  value: (database: DatabaseSnapshot) => Value,
): MetricDefinition {
  return {
    name,
    type: 'gauge',
    help,
    labels: ['name', 'host', 'port', 'database', 'force_user', 'pool_mode'],
    read: ({ databases }) => databases.flatMap((database) => sample(labelsOf(database), value(database))),
  };
}

function labelsOf({ name, hosts, port, serverDatabase, forcedUser, poolMode }: DatabaseSnapshot): Sample['labels'] {
  return {
    name,
    host: hosts.join(','),
    port: String(port),
    database: serverDatabase,
    force_user: forcedUser ?? '',
    pool_mode: poolMode ?? '',
  };
}

/** What has come together in the pools of a database, also in those that are gone. */
export function traffic(
  name: string,
  help: string,
  value: (traffic: DatabaseSnapshot['traffic']) => number,
): MetricDefinition {
  return {
    name,
    type: 'counter',
    help,
    labels: ['database'],
    read: ({ databases }) => databases.flatMap(({ name, traffic }) => sample({ database: name }, value(traffic))),
  };
}

/** All `reasons` are shown from the start, for `rate()` does not see the first event of a counter that begins with it. */
export function perReason(
  name: string,
  help: string,
  reasons: Readonly<Record<string, unknown>>,
  counts: (snapshot: PoolerSnapshot) => Readonly<Record<string, number | undefined>>,
): MetricDefinition {
  const names = Object.keys(reasons);
  return {
    name,
    type: 'counter',
    help,
    labels: ['reason'],
    read: (snapshot) => {
      const found = counts(snapshot);
      return names.flatMap((reason) => sample({ reason }, found[reason] ?? 0));
    },
  };
}

export function histogram(
  name: string,
  help: string,
  read: (snapshot: PoolerSnapshot) => HistogramSnapshot,
): MetricDefinition {
  return { name, type: 'histogram', help, labels: [], read: (snapshot) => histogramSamples(read(snapshot)) };
}

function histogramSamples({ boundsMs, counts, sumMs }: HistogramSnapshot): Sample[] {
  let total = 0;
  const buckets = counts.map((count, index): Sample => {
    total += count;
    const boundMs = boundsMs[index];
    const le = boundMs === undefined ? '+Inf' : String(boundMs / SECOND_MS);
    return { suffix: '_bucket', labels: { le }, value: total };
  });
  return [
    ...buckets,
    { suffix: '_sum', labels: NO_LABELS, value: sumMs / SECOND_MS },
    { suffix: '_count', labels: NO_LABELS, value: total },
  ];
}

export function sample(labels: Sample['labels'], value: Value): Sample[] {
  return value === null ? [] : [{ labels, value }];
}
