/** Reload with a real PostgreSQL under load: nothing is lost, and what was promised holds after each. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { configFromObject } from '../../src/config/load-config.ts';
import type { PoolerSnapshot } from '../../src/pool/snapshot.ts';
import { configurationOf, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { itWith, runSystemClient } from '../support/system-clients.ts';

const cluster = sharedCluster(18);
const RELOADS = 1000;
const MOST = 6;

const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-reload-'));
afterAll(() => rmSync(folder, { recursive: true }));

function transactionsOf({ databases: [entry] }: PoolerSnapshot): number {
  return entry?.traffic.transactions ?? 0;
}

itWith('pgbench')(
  'a thousand reloads that change pool_size and host under pgbench',
  async () => {
    const options: PoolerOptions = {
      cluster,
      pool_mode: 'transaction',
      pool_size: MOST,
      max_db_connections: MOST,
      log_connections: false,
      query_wait_notify: 0,
      expectedCloses: ['config_changed', 'over_limit', 'evicted'],
    };
    const pool = await pooler(options);
    const { host, port, database } = pool;
    await cluster.query(
      `create table counters as select i as id, 0 as n from generate_series(1, 1000) i;
     create unique index on counters (id); grant all on counters to public`,
      [],
      database,
    );
    const script = join(folder, 'script.sql');
    const update = 'update counters set n = n + 1 where id = :a;';
    writeFileSync(script, `\\set a random(1, 1000)\nbegin;\n${update}\nselect pg_backend_pid();\nend;\n`);
    const where = ['-h', host, '-p', String(port), '-U', 'dave', database];
    const transactions = 100;
    const phase = { isOver: false };
    let done = 0;
    const load = async (): Promise<void> => {
      while (!phase.isOver) {
        const argv = ['-n', '-M', 'simple', '-c', '8', '-t', String(transactions), '-f', script, ...where];
        const { stdout, stderr, code } = await runSystemClient('pgbench', argv);
        expect([code, stderr.replaceAll(/^pgbench \(.*\)\n/gm, '')]).toEqual([0, '']);
        expect(stdout).toContain(`processed: ${8 * transactions}/${8 * transactions}`);
        done += 8 * transactions;
      }
    };
    const loads = load();
    const changes = [
      { pool_size: 2, max_db_connections: 2, database: { host: 'localhost' } },
      { pool_size: MOST, database: { host: cluster.host } },
    ];
    for (let i = 0; i < RELOADS; i++) {
      const change = changes[i % 2]!;
      const config = configFromObject(configurationOf({ ...options, ...change }, database));
      expect(await pool.pooler.applyConfig(config)).toMatchObject({ ok: true });
      const snapshot = pool.pooler.snapshot();
      const [entry] = snapshot.databases;
      expect([entry?.poolSize, entry?.hosts]).toEqual([change.pool_size, [change.database.host]]);
      expect(entry?.connections).toBeLessThanOrEqual(MOST);
      const [row] = snapshot.pools;
      if (row !== undefined)
        expect(Object.values(row.servers).reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(MOST);
      // So that something happens between any two: or no connection would live to see the end of its login.
      const before = transactionsOf(snapshot);
      while (transactionsOf(pool.pooler.snapshot()) === before) await new Promise((resolve) => setImmediate(resolve));
    }
    phase.isOver = true;
    await loads;
    expect(done).toBeGreaterThan(0);
    expect(await cluster.query('select sum(n)::int as n from counters', [], database)).toEqual([{ n: done }]);
  },
  300_000,
);
