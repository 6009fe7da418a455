/** pgbench: the protocol at speed, without one error. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type PoolerFixture, startPooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { itWith, runSystemClient } from '../support/system-clients.ts';

const cluster = sharedCluster(18);
const itBenches = itWith('pgbench');
/** For each client: a number of transactions and not a time, so that a busy machine needs longer and fails nothing. */
const TRANSACTIONS = 25;

const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-pgbench-'));
afterAll(() => rmSync(folder, { recursive: true }));

const scripts = {
  'a transaction': `\\set a random(1, 1000)
begin;
update counters set n = n + 1 where id = :a;
select n from counters where id = :a;
end;
`,
  'a pipeline-free mixture': `\\set a random(1, 1000)
select count(*) from generate_series(1, :a);
begin;
select pg_backend_pid();
select pg_backend_pid();
rollback;
`,
  pipelines: `\\set a random(1, 1000)
\\startpipeline
select :a + 1;
update counters set n = n + 1 where id = :a;
select n from counters where id = :a;
\\endpipeline
`,
} as const;

function scriptFile(name: keyof typeof scripts): string {
  const path = join(folder, `${name.replaceAll(' ', '-')}.sql`);
  writeFileSync(path, scripts[name]);
  return path;
}

/** Every transaction of every client succeeds. */
async function bench(pool: PoolerFixture, clients: number, ...argv: readonly string[]): Promise<void> {
  const { host, port, database } = pool;
  const threads = ['-j', '2', '-c', String(clients), '-t', String(TRANSACTIONS), '-n'];
  const where = ['-h', host, '-p', String(port), '-U', 'dave', database];
  const { stdout, stderr, code } = await runSystemClient('pgbench', [...threads, ...argv, ...where]);
  expect(stderr.replaceAll(/^pgbench \(.*\)\n/gm, '')).not.toMatch(/error|abort|fatal/i);
  expect(code).toBe(0);
  expect(stdout).toMatch(/number of failed transactions: 0 /);
  expect(stdout).toContain(
    `number of transactions actually processed: ${clients * TRANSACTIONS}/${clients * TRANSACTIONS}`,
  );
}

describe.each([
  ['transaction', 3],
  ['session', 128],
])('%s mode', (mode, poolSize) => {
  let pool: PoolerFixture;

  beforeAll(async () => {
    pool = await startPooler({ cluster, pool_mode: mode, pool_size: poolSize });
    await cluster.query(
      `create table counters as select i as id, 0 as n from generate_series(1, 1000) i;
       create unique index on counters (id); grant all on counters to public`,
      [],
      pool.database,
    );
  });
  afterAll(() => pool.close());

  const methods = mode === 'session' ? ['prepared'] : ['simple', 'extended', 'prepared'];
  for (const method of methods) {
    for (const clients of [1, 16, 128]) {
      itBenches(`-M ${method} with ${clients} clients`, async () => {
        const script = scriptFile('a transaction');
        const select = join(folder, 'select.sql');
        writeFileSync(select, 'select 1;\n');
        // See below for why every text is to be known before.
        if (method === 'prepared') for (const file of [select, script]) await bench(pool, 1, '-M', method, '-f', file);
        await bench(pool, clients, '-M', method, '-f', `${select}@5`, '-f', script);
        const servers = await pool.backends();
        if (mode === 'transaction') expect(servers.length).toBeLessThanOrEqual(3);
        if (mode === 'transaction' && clients > 3) expect(servers).toHaveLength(3);
      });
    }
    itBenches(`-M ${method} with pipelines`, async () => {
      if (method === 'simple') return; // there are none
      await bench(pool, 16, '-M', method, '-f', scriptFile('pipelines'));
    });
  }

  itBenches('-M prepared with scripts of many statements', async () => {
    // Each script gives its statements names of its own, and each client all of them.
    const files = ['one', 'two', 'three'].map((name) => {
      const path = join(folder, `many-${name}.sql`);
      const statements = Array.from({ length: 25 }, (_, i) => `select ${i} + :a, '${name}';\n`);
      writeFileSync(path, `\\set a random(1, 1000)\n${statements.join('')}${scripts['a transaction']}`);
      return ['-f', path];
    });
    // pgbench waits for the answer to each Parse while other clients of the same thread are in transactions. So that no
    // such wait is for a server, every text is known before.
    for (const file of files) await bench(pool, 1, '-M', 'prepared', ...file);
    await bench(pool, 16, '-M', 'prepared', ...files.flat());
  });

  itBenches('a connection for each transaction', async () => {
    const script = scriptFile('a pipeline-free mixture');
    for (const method of methods) await bench(pool, 16, '-C', '-M', method, '-f', script);
  });
});
