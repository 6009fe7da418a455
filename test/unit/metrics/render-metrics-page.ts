/** Derives `docs/metrics.md` from the table of metrics. */
import type { MetricDefinition } from '../../../src/metrics/metric-definition.ts';
import { metricGroups } from '../../../src/metrics/metric-table.ts';

const HEAD = `\
# Metrics and health

Derived from \`src/metrics/metric-table.ts\`; a test compares them (\`UPDATE_EXAMPLE=1 npx vitest run test/unit/metrics\`
writes this page anew).

With \`http_port\` set, the pooler serves over HTTP on \`http_listen_addr\` (127.0.0.1 if not set):

| path | answer |
|---|---|
| \`/metrics\` | every metric below, for Prometheus (text format 0.0.4) |
| \`/healthz\` | 200 as long as the process answers: for a liveness probe |
| \`/readyz\` | 200 while clients are accepted, 503 while the pooler starts, drains or shuts down: for a readiness probe |

\`/readyz\` does not ask whether PostgreSQL is up. All poolers in front of one PostgreSQL would become unready at once, and
clients would find nobody to connect to instead of a pooler that lets them wait or tells them why; to alert on it there
is \`tsbouncer_pools_server_login_failing\`. All three are served until the last client and server connection are gone,
so the end of a shutdown can be watched. There is no password: keep the port where only Prometheus and the kubelet
reach it. Names of databases and users are on the page, queries and secrets are not.

## Setting it up

\`\`\`yaml
# pgbouncer.yaml
pgbouncer:
  http_listen_addr: '*'
  http_port: 9127 # where pgbouncer_exporter is, too
\`\`\`

\`\`\`yaml
# prometheus.yml
scrape_configs:
  - job_name: pgbouncer
    static_configs:
      - targets: ['pooler.example:9127']
\`\`\`

\`\`\`yaml
# Kubernetes, in the container
ports:
  - { name: metrics, containerPort: 9127 }
livenessProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: { path: /readyz, port: metrics }
  periodSeconds: 5
\`\`\`

## What to watch

A pool that uses all its server connections is healthy as long as nobody waits long. Worth an alert:

| expression | for | what it says |
|---|---|---|
| \`up == 0\` | 1m | the pooler is gone |
| \`pgbouncer_pools_client_maxwait_seconds > 5\` | 5m | clients wait too long for a server |
| \`tsbouncer_pools_server_login_failing == 1\` | 1m | PostgreSQL cannot be logged in to |
| \`tsbouncer_budget_in_use / tsbouncer_budget_limit > 0.9\` | 15m | little is left of what one PostgreSQL may be asked for |
| \`pgbouncer_used_clients / pgbouncer_config_max_client_connections > 0.9\` | 5m | clients will soon be refused |
| \`rate(tsbouncer_client_rejected_total{sqlstate="53300"}[5m]) > 0\` | 5m | clients are refused at a limit |
| \`tsbouncer_oldest_idle_in_transaction_age_seconds > 60\` | 5m | a client holds a server and does nothing |
| \`histogram_quantile(0.99, rate(tsbouncer_event_loop_lag_seconds_bucket[5m])) > 0.1\` | 5m | the pooler itself is too busy |

How full a pool is: \`pgbouncer_pools_server_active_connections / tsbouncer_pools_size\`. Dashboards for pgbouncer_exporter
divide by \`pgbouncer_config_max_user_connections\`, which is 0 where there is no such limit.

## The metrics

Names that begin with \`pgbouncer_\` are those of
[pgbouncer_exporter](https://github.com/prometheus-community/pgbouncer_exporter), old (\`pgbouncer_stats_…\`) and new
(\`pgbouncer_stats_totals_…\`). What it has no name for begins with \`tsbouncer_\`. No counter goes backwards while the
pooler runs, also not when an unused pool is forgotten (\`pool_idle_timeout\`); only what belongs to a database that the
fallback \`*\` served ends with its last pool.
`;

export function renderMetricsPage(): string {
  return [HEAD, ...metricGroups.map(({ title, metrics }) => `### ${title}\n\n${renderTable(metrics)}`)].join('\n');
}

function renderTable(metrics: readonly MetricDefinition[]): string {
  const rows = metrics.map(({ name, type, labels, help }) => {
    const shown = labels.map((label) => `\`${label}\``).join(', ');
    return `| \`${name}\` | ${type} | ${shown} | ${help} |`;
  });
  return ['| name | type | labels | |', '|---|---|---|---|', ...rows, ''].join('\n');
}
