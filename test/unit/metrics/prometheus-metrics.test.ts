/** The page that Prometheus reads: every name that dashboards know, right types, right values, and hostile names. */
import { describe, expect, it } from 'vitest';
import { metricGroups } from '../../../src/metrics/metric-table.ts';
import { PrometheusMetrics } from '../../../src/metrics/prometheus-metrics.ts';
import type { PoolerSnapshot } from '../../../src/pool/snapshot.ts';
import { handMadeDatabase, handMadePool, handMadeSnapshot } from './hand-made-snapshot.ts';
import { ManualEnvironment } from './manual-environment.ts';
import { type ParsedMetric, parseTextFormat } from './text-format-parser.ts';

async function scrape(snapshot: PoolerSnapshot = handMadeSnapshot): Promise<Map<string, ParsedMetric>> {
  return parseTextFormat(await new PrometheusMetrics(new ManualEnvironment()).render(snapshot));
}

/** What pgbouncer_exporter 0.12 emits, and up to 0.10 emitted, with its types and labels. */
const EXPORTER_NAMES: readonly { readonly type: string; readonly labels: string; readonly names: string }[] = [
  {
    type: 'counter',
    labels: 'database',
    names: `
      pgbouncer_stats_totals_queries_pooled_total pgbouncer_stats_totals_queries_duration_seconds_total
      pgbouncer_stats_totals_received_bytes_total pgbouncer_stats_totals_sent_bytes_total
      pgbouncer_stats_totals_client_wait_seconds_total pgbouncer_stats_totals_sql_transactions_pooled_total
      pgbouncer_stats_totals_server_in_transaction_seconds_total pgbouncer_stats_totals_client_parses_total
      pgbouncer_stats_totals_server_parses_total pgbouncer_stats_totals_binds_total
      pgbouncer_stats_totals_server_assignments_total pgbouncer_stats_totals_queries_total
      pgbouncer_stats_queries_pooled_total pgbouncer_stats_queries_duration_seconds_total
      pgbouncer_stats_received_bytes_total pgbouncer_stats_sent_bytes_total pgbouncer_stats_client_wait_seconds_total
      pgbouncer_stats_sql_transactions_pooled_total pgbouncer_stats_server_in_transaction_seconds_total
      pgbouncer_stats_queries_total`,
  },
  {
    type: 'gauge',
    labels: 'database user',
    names: `
      pgbouncer_pools_client_active_connections pgbouncer_pools_client_active_cancel_connections
      pgbouncer_pools_client_waiting_connections pgbouncer_pools_client_waiting_cancel_connections
      pgbouncer_pools_server_active_connections pgbouncer_pools_server_active_cancel_connections
      pgbouncer_pools_server_being_canceled_connections pgbouncer_pools_server_idle_connections
      pgbouncer_pools_server_used_connections pgbouncer_pools_server_testing_connections
      pgbouncer_pools_server_login_connections pgbouncer_pools_client_maxwait_seconds`,
  },
  {
    type: 'gauge',
    labels: 'name host port database force_user pool_mode',
    names: `
      pgbouncer_databases_pool_size pgbouncer_databases_reserve_pool pgbouncer_databases_max_connections
      pgbouncer_databases_current_connections pgbouncer_databases_paused pgbouncer_databases_disabled`,
  },
  {
    type: 'gauge',
    labels: '',
    names: `
      pgbouncer_databases pgbouncer_users pgbouncer_pools pgbouncer_free_clients pgbouncer_used_clients
      pgbouncer_login_clients pgbouncer_free_servers pgbouncer_used_servers pgbouncer_cached_dns_names
      pgbouncer_cached_dns_zones pgbouncer_in_flight_dns_queries pgbouncer_config_max_client_connections
      pgbouncer_config_max_user_connections pgbouncer_up pgbouncer_process_open_fds pgbouncer_process_max_fds
      pgbouncer_process_resident_memory_bytes pgbouncer_process_start_time_seconds`,
  },
  { type: 'counter', labels: '', names: 'pgbouncer_process_cpu_seconds_total' },
  { type: 'gauge', labels: 'version', names: 'pgbouncer_version_info pgbouncer_exporter_build_info' },
  // Without application_name, which clients choose: one series for each would have no bound.
  { type: 'gauge', labels: 'database user state', names: 'pgbouncer_client_connections' },
];

const expectedNames = EXPORTER_NAMES.flatMap(({ type, labels, names }) =>
  words(names).map((name) => ({ name, type, labels: words(labels) })),
);

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

describe('the names of pgbouncer_exporter', () => {
  it.each(expectedNames)('$name is a $type with the labels $labels', async ({ name, type, labels }) => {
    const metric = (await scrape()).get(name);
    expect(metric?.type).toBe(type);
    expect(metric?.samples.length).toBeGreaterThan(0);
    for (const sample of metric?.samples ?? []) expect(Object.keys(sample.labels)).toEqual(labels);
  });

  it('are no others: what is ours says so', async () => {
    const expected = new Set(expectedNames.map(({ name }) => name));
    const others = [...(await scrape()).keys()].filter((name) => !expected.has(name));
    expect(others.filter((name) => !/^(?:tsbouncer|nodejs)_/.test(name))).toEqual([]);
  });
});

/** Series without labels by their name, those of the one pool and the one database as well. */
const EXPECTED_VALUES: Readonly<Record<string, number>> = {
  pgbouncer_stats_totals_queries_pooled_total: 301,
  pgbouncer_stats_queries_pooled_total: 301,
  pgbouncer_stats_totals_queries_total: 301,
  pgbouncer_stats_queries_total: 301,
  pgbouncer_stats_totals_sql_transactions_pooled_total: 302,
  pgbouncer_stats_sql_transactions_pooled_total: 302,
  pgbouncer_stats_totals_queries_duration_seconds_total: 303.5,
  pgbouncer_stats_queries_duration_seconds_total: 303.5,
  pgbouncer_stats_totals_server_in_transaction_seconds_total: 304.5,
  pgbouncer_stats_server_in_transaction_seconds_total: 304.5,
  pgbouncer_stats_totals_received_bytes_total: 305,
  pgbouncer_stats_received_bytes_total: 305,
  pgbouncer_stats_totals_sent_bytes_total: 306,
  pgbouncer_stats_sent_bytes_total: 306,
  pgbouncer_stats_totals_client_wait_seconds_total: 307.5,
  pgbouncer_stats_client_wait_seconds_total: 307.5,
  pgbouncer_stats_totals_server_assignments_total: 308,
  tsbouncer_client_logins_total: 309,
  pgbouncer_stats_totals_client_parses_total: 310,
  pgbouncer_stats_totals_server_parses_total: 311,
  pgbouncer_stats_totals_binds_total: 312,
  tsbouncer_pools_size: 101,
  pgbouncer_pools_client_active_connections: 104,
  pgbouncer_pools_client_waiting_connections: 105,
  pgbouncer_pools_client_active_cancel_connections: 106,
  pgbouncer_pools_server_active_cancel_connections: 106,
  pgbouncer_pools_client_waiting_cancel_connections: 107,
  pgbouncer_pools_server_login_connections: 1,
  pgbouncer_pools_server_active_connections: 2 + 16 + 32 + 512,
  pgbouncer_pools_server_idle_connections: 4,
  pgbouncer_pools_server_testing_connections: 8 + 128,
  pgbouncer_pools_server_being_canceled_connections: 64,
  tsbouncer_pools_server_closing_connections: 256,
  pgbouncer_pools_server_used_connections: 0,
  pgbouncer_pools_client_maxwait_seconds: 2,
  tsbouncer_oldest_waiter_seconds: 2.75,
  tsbouncer_oldest_transaction_age_seconds: 3.5,
  tsbouncer_oldest_idle_in_transaction_age_seconds: 1.25,
  tsbouncer_pools_server_login_failing: 1,
  pgbouncer_databases_pool_size: 201,
  pgbouncer_databases_reserve_pool: 203,
  pgbouncer_databases_max_connections: 205,
  pgbouncer_databases_current_connections: 206,
  tsbouncer_databases_max_client_connections: 207,
  tsbouncer_databases_current_client_connections: 208,
  pgbouncer_databases_paused: 1,
  pgbouncer_databases_disabled: 1,
  pgbouncer_databases: 1,
  pgbouncer_pools: 1,
  pgbouncer_users: 401,
  pgbouncer_cached_dns_names: 402,
  pgbouncer_in_flight_dns_queries: 403,
  pgbouncer_cached_dns_zones: 0,
  pgbouncer_config_max_client_connections: 404,
  pgbouncer_config_max_user_connections: 405,
  pgbouncer_used_clients: 417,
  pgbouncer_login_clients: 416,
  pgbouncer_free_clients: 0,
  pgbouncer_used_servers: 1023,
  pgbouncer_free_servers: 0,
  tsbouncer_server_connects_total: 409,
  tsbouncer_server_closed_unconfirmed_total: 412,
  pgbouncer_up: 1,
  tsbouncer_ready: 1,
  pgbouncer_version_info: 1,
  pgbouncer_exporter_build_info: 1,
  pgbouncer_process_cpu_seconds_total: 422.5,
  pgbouncer_process_start_time_seconds: 1_700_000_000.5,
  pgbouncer_process_resident_memory_bytes: 423,
  nodejs_heap_size_total_bytes: 424,
  nodejs_heap_size_used_bytes: 425,
  nodejs_external_memory_bytes: 426,
  pgbouncer_process_open_fds: 427,
  pgbouncer_process_max_fds: 428,
};

const SEVERAL_SERIES = [
  'pgbouncer_client_connections',
  'tsbouncer_client_rejected_total',
  'tsbouncer_client_closed_total',
  'tsbouncer_server_closed_total',
  'tsbouncer_budget_limit',
  'tsbouncer_budget_in_use',
  'tsbouncer_event_loop_lag_seconds',
];

/** `label="value"` → value, for each series of a metric that is not 0. */
function present(metric: ParsedMetric | undefined): Record<string, number> {
  return Object.fromEntries(
    (metric?.samples ?? [])
      .filter(({ value }) => value !== 0)
      .map(({ labels, value }) => [Object.values(labels).join(' '), value]),
  );
}

describe('values', () => {
  it.each(Object.entries(EXPECTED_VALUES))('%s is %d', async (name, value) => {
    expect((await scrape()).get(name)?.samples.map((sample) => sample.value)).toEqual([value]);
  });

  it('are expected of every metric', async () => {
    expect([...(await scrape()).keys()].sort()).toEqual([...Object.keys(EXPECTED_VALUES), ...SEVERAL_SERIES].sort());
  });

  it('come with labels that say whose they are', async () => {
    const metrics = await scrape();
    expect(metrics.get('pgbouncer_stats_totals_queries_pooled_total')?.samples[0]?.labels).toEqual({ database: 'app' });
    expect(metrics.get('pgbouncer_pools_client_active_connections')?.samples[0]?.labels).toEqual({
      database: 'app',
      user: 'alice',
    });
    expect(metrics.get('pgbouncer_databases_pool_size')?.samples[0]?.labels).toEqual({
      name: 'app',
      host: 'db1,db2',
      port: '5433',
      database: 'app_production',
      force_user: 'owner',
      pool_mode: 'session',
    });
    expect(metrics.get('pgbouncer_version_info')?.samples[0]?.labels).toEqual({ version: '1.2.3' });
  });

  it('of clients are by state', async () => {
    expect(present((await scrape()).get('pgbouncer_client_connections'))).toEqual({
      'app alice idle': 413,
      'app alice waiting': 414,
      'app alice active': 415,
    });
  });

  it('of what was refused and closed are by reason, from zero on', async () => {
    const metrics = await scrape();
    expect(present(metrics.get('tsbouncer_client_rejected_total'))).toEqual({ '28P01': 418, '53300': 419 });
    expect(present(metrics.get('tsbouncer_client_closed_total'))).toEqual({ terminated: 420, eof: 421 });
    expect(present(metrics.get('tsbouncer_server_closed_total'))).toEqual({ lifetime: 410, evicted: 411 });
    const zero = { name: 'tsbouncer_server_closed_total', labels: { reason: 'out_of_sync' }, value: 0 };
    expect(metrics.get('tsbouncer_server_closed_total')?.samples).toContainEqual(zero);
  });

  it('of a budget have no limit where there is none', async () => {
    const metrics = await scrape();
    expect(present(metrics.get('tsbouncer_budget_limit'))).toEqual({ 'db1,db2:5433': 406 });
    expect(metrics.get('tsbouncer_budget_limit')?.samples).toHaveLength(1);
    expect(present(metrics.get('tsbouncer_budget_in_use'))).toEqual({ 'db1,db2:5433': 407, free: 408 });
  });

  it('that would be no good as denominators or are not known are left out', async () => {
    const metrics = await scrape({
      ...handMadeSnapshot,
      pools: [{ ...handMadePool, size: 0 }],
      databases: [{ ...handMadeDatabase, maxClientConnections: 0, poolMode: null, forcedUser: null }],
      process: { ...handMadeSnapshot.process, descriptors: null, maxDescriptors: null },
    });
    for (const name of [
      'tsbouncer_pools_size',
      'tsbouncer_databases_max_client_connections',
      'pgbouncer_process_open_fds',
      'pgbouncer_process_max_fds',
    ]) {
      expect(metrics.get(name)?.samples, name).toEqual([]);
    }
    expect(metrics.get('pgbouncer_databases_pool_size')?.samples[0]?.labels).toMatchObject({
      force_user: '',
      pool_mode: '',
    });
  });

  it('of the state are 0 while no clients are accepted', async () => {
    for (const state of ['starting', 'draining'] as const) {
      expect((await scrape({ ...handMadeSnapshot, state })).get('tsbouncer_ready')?.samples[0]?.value).toBe(0);
    }
  });

  it('of a histogram are cumulative', async () => {
    const metric = (await scrape()).get('tsbouncer_event_loop_lag_seconds');
    expect(metric?.type).toBe('histogram');
    expect(metric?.samples.map(({ name, labels, value }) => [name.slice(32), labels['le'], value])).toEqual([
      ['_bucket', '0.001', 10],
      ['_bucket', '0.0025', 15],
      ['_bucket', '0.1', 15],
      ['_bucket', '+Inf', 17],
      ['_sum', undefined, 0.75],
      ['_count', undefined, 17],
    ]);
  });
});

const HOSTILE_NAMES = [
  'a"} 1\n',
  '"',
  '\n',
  '\\',
  '\\n',
  '\\"',
  'ends with \\',
  'a\r\nb',
  '\u001B[31mred\u001B[0m\u0007',
  'a",user="b',
  '{}',
  '# TYPE x counter',
  ' ',
  '\u2028\u0085',
  'größe 🐘',
  '__proto__',
  'constructor',
  'toString',
  // prom-client's own key for a series, label by label, would be the same for these two pairs.
  'x,user:y',
  'x',
];

describe('hostile names', () => {
  const pools = HOSTILE_NAMES.flatMap((database) =>
    [...HOSTILE_NAMES, 'z', 'y,user:z'].map((user, index) => ({
      ...handMadePool,
      database,
      user,
      activeClients: index,
    })),
  );
  const snapshot: PoolerSnapshot = {
    ...handMadeSnapshot,
    pools,
    databases: HOSTILE_NAMES.map((name) => ({
      ...handMadeDatabase,
      name,
      hosts: [name],
      serverDatabase: name,
      forcedUser: name,
    })),
    budgets: HOSTILE_NAMES.map((name) => ({ name, limit: 1, inUse: 1 })),
    clients: {
      ...handMadeSnapshot.clients,
      identities: pools.map(({ database, user }) => ({ database, user, idle: 1, waiting: 1, active: 1 })),
      refused: HOSTILE_NAMES.map((sqlstate) => ({ sqlstate, count: 1 })),
    },
    version: 'a"} 1\n',
  };

  it('leave every line readable, and come back as they were', async () => {
    const metrics = await scrape(snapshot);
    const samples = metrics.get('pgbouncer_pools_client_active_connections')?.samples ?? [];
    expect(samples.map(({ labels, value }) => [labels['database'], labels['user'], value])).toEqual(
      pools.map(({ database, user, activeClients }) => [database, user, activeClients]),
    );
    expect([...metrics.keys()]).toEqual([...(await scrape()).keys()]);
  });

  it('do not make two series one', async () => {
    const metrics = await scrape(snapshot);
    for (const { name, labels } of metricGroups.flatMap(({ metrics }) => metrics)) {
      const expected =
        { user: pools.length, database: HOSTILE_NAMES.length, sqlstate: HOSTILE_NAMES.length }[
          labels[1] ?? labels[0] ?? ''
        ] ?? null;
      if (expected === null) continue;
      const perRow = labels.includes('state') ? 3 : 1;
      expect(metrics.get(name)?.samples.length, name).toBe(expected * perRow);
    }
  });
});

describe('the table', () => {
  const definitions = metricGroups.flatMap(({ metrics }) => [...metrics]);

  it('keeps to the conventions of Prometheus', () => {
    for (const { name, type, labels } of definitions) {
      expect(name).toMatch(/^[a-z][a-z0-9_]*[a-z]$/);
      if (type === 'counter') expect(name).toMatch(/_total$/);
      else expect(name).not.toMatch(/_(?:total|count|sum|bucket)$/);
      for (const label of labels) expect(label).toMatch(/^[a-z][a-z_]*$/);
    }
  });

  it('names no two metrics alike', () => {
    const names = definitions.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it('says of every metric in one line what it is', () => {
    for (const { name, help } of definitions) expect(help, name).toMatch(/^[\w0-9][^|\n]*[^.\s]$/);
  });

  it('names the labels that the samples have', () => {
    for (const { name, labels, type, read } of definitions) {
      const samples = read(handMadeSnapshot);
      expect(samples.length, name).toBeGreaterThan(0);
      if (type === 'histogram') continue;
      for (const sample of samples) expect(Object.keys(sample.labels), name).toEqual(labels);
    }
  });
});

describe('rendering', () => {
  it('is of the text format 0.0.4', () => {
    const { contentType } = new PrometheusMetrics(new ManualEnvironment());
    expect(contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  });

  it('keeps two poolers in one process apart', async () => {
    const one = new PrometheusMetrics(new ManualEnvironment());
    const other = new PrometheusMetrics(new ManualEnvironment());
    const pages = await Promise.all([
      one.render({ ...handMadeSnapshot, users: 1 }),
      other.render({ ...handMadeSnapshot, users: 2 }),
    ]);
    expect(pages.map((page) => parseTextFormat(page).get('pgbouncer_users')?.samples[0]?.value)).toEqual([1, 2]);
  });

  it('shows nothing of what was there at the scrape before', async () => {
    const metrics = new PrometheusMetrics(new ManualEnvironment());
    await metrics.render(handMadeSnapshot);
    const page = await metrics.render({ ...handMadeSnapshot, pools: [], databases: [] });
    expect(page).not.toContain('alice"} 104');
    expect(parseTextFormat(page).get('pgbouncer_pools_client_active_connections')?.samples).toEqual([]);
  });

  it('lets others run when it takes long, and mixes no two snapshots up meanwhile', async () => {
    const environment = new ManualEnvironment();
    environment.now = () => (environment.nowMs += 10);
    const metrics = new PrometheusMetrics(environment);
    let pauses = 0;
    const startTimer = environment.startTimer.bind(environment);
    environment.startTimer = (delayMs, callback) => {
      pauses++;
      setImmediate(() => environment.fire(0));
      return startTimer(delayMs, callback);
    };
    const pages = await Promise.all([
      metrics.render({ ...handMadeSnapshot, users: 1, version: 'one' }),
      metrics.render({ ...handMadeSnapshot, users: 2, version: 'two' }),
    ]);
    expect(pauses).toBeGreaterThan(50);
    const [first, second] = pages.map(parseTextFormat);
    expect(first?.get('pgbouncer_users')?.samples[0]?.value).toBe(1);
    expect(second?.get('pgbouncer_users')?.samples[0]?.value).toBe(2);
    expect(first?.get('pgbouncer_version_info')?.samples[0]?.labels).toEqual({ version: 'one' });
    expect(second?.get('pgbouncer_version_info')?.samples[0]?.labels).toEqual({ version: 'two' });
  });
});
