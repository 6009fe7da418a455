/** The documentation that is derived from the table of metrics is the one that is committed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { metricGroups } from '../../../src/metrics/metric-table.ts';
import { renderMetricsPage } from './render-metrics-page.ts';

const path = new URL('../../../docs/metrics.md', import.meta.url).pathname;
const names = metricGroups.flatMap(({ metrics }) => metrics.map(({ name }) => name));

describe('docs/metrics.md', () => {
  it('is what the table says (UPDATE_EXAMPLE=1 writes it anew)', () => {
    if (process.env['UPDATE_EXAMPLE'] === '1') writeFileSync(path, renderMetricsPage());
    expect(readFileSync(path, 'utf8')).toBe(renderMetricsPage());
  });

  it('has every metric once in its tables', () => {
    const rows = [...readFileSync(path, 'utf8').matchAll(/^\| `(\w+)` \| (?:counter|gauge|histogram) \|/gm)];
    expect(rows.map(([, name]) => name)).toEqual(names);
  });

  it('uses only names that there are in its expressions', () => {
    const text = readFileSync(path, 'utf8');
    const used = [...text.matchAll(/\b(?:pgbouncer|tsbouncer)_[a-z_]+[a-z](?!…)\b/g)].map(([name]) => name);
    const known = new Set([...names, ...names.map((name) => `${name}_bucket`)]);
    const others = new Set(['pgbouncer_exporter', 'pgbouncer_stats', 'pgbouncer_stats_totals']);
    expect(used.filter((name) => !known.has(name) && !others.has(name))).toEqual([]);
  });
});
