/** psql: scripts, \copy, errors, large output, and Ctrl-C. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { librariesOf18 } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { itWith, runSystemClient, SystemProcess } from '../support/system-clients.ts';

const itQueries = itWith('psql');
/** Nothing but rows and tags, columns parted by `|`. */
const QUIET = ['-X', '-A', '-t'];

function onePool(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  return pooler({ cluster: sharedCluster(18), pool_mode: 'transaction', pool_size: 1, ...options });
}

async function psql(pool: PoolerFixture, script: string, ...argv: readonly string[]) {
  return runSystemClient('psql', [...QUIET, ...argv, pool.url], script);
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tsbouncer-psql-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

itQueries('runs a script with transactions, errors and \\g', async () => {
  const pool = await onePool();
  const pid = await pool.backend();
  const { stdout, stderr } = await psql(
    pool,
    `\\timing on
     \\timing off
     create table t (a int, b text);
     begin;
     insert into t values (1, 'one'), (2, 'two');
     savepoint s;
     insert into t values ('three');
     rollback to s;
     commit;
     select * from t order by a \\g
     select a from t where a = 2 \\gset
     \\echo got :a
     select pg_backend_pid() = ${pid};
     select 1/0;
     select 'after' \\; select 'both';
     \\bind_unknown_command
     \\d t
    `,
  );
  expect(stderr).toContain('invalid input syntax for type integer: "three"');
  expect(stderr).toContain('division by zero');
  for (const line of ['INSERT 0 2', 'ROLLBACK', 'COMMIT', '1|one', '2|two', 'got 2', 't', 'after', 'both']) {
    expect(stdout.split('\n')).toContain(line);
  }
  expect(await pool.backend()).toBe(pid);
});

itQueries('copies in and out', async () => {
  const pool = await onePool();
  const file = join(folder(), 'rows');
  const rows = Array.from({ length: 50_000 }, (_, i) => `${i}\trow number ${i}`).join('\n');
  writeFileSync(file, `${rows}\n`);
  const { stdout, stderr, code } = await psql(
    pool,
    `create table t (a int, b text);
     \\copy t from '${file}'
     copy t from stdin;
-1\tinline
\\.
     \\copy (select * from t where a >= 0 order by a) to '${file}.out'
     \\copy t from '/dev/null' (format binary)
     copy t (a) from stdin;
no number
\\.
     copy (select a from t where a < 3 order by a) to stdout;
     begin; \\copy t from '${file}'
     rollback;
     select count(*) from t;
    `,
  );
  expect(readFileSync(`${file}.out`, 'utf8')).toBe(`${rows}\n`);
  expect(stderr).toContain('COPY file signature not recognized');
  expect(stderr).toContain('invalid input syntax for type integer: "no number"');
  expect(stdout).toContain('COPY 50000\nCOPY 1\nCOPY 50000\n-1\n0\n1\n2\n');
  expect(stdout).toContain('COPY 50000\nROLLBACK\n50001\n');
  expect(code).toBe(0);
  expect(await pool.backends()).toHaveLength(1);
});

itQueries('reads large results whole, and with a cursor behind FETCH_COUNT', async () => {
  const pool = await onePool();
  const sql = "select i, repeat('x', 100) from generate_series(1, 100000) i;";
  const { stdout, stderr } = await psql(pool, sql);
  expect(stderr).toBe('');
  expect(stdout.split('\n')).toHaveLength(100_001);
  expect(stdout.endsWith(`100000|${'x'.repeat(100)}\n`)).toBe(true);
  const fetched = await psql(pool, sql, '--set', 'FETCH_COUNT=1000');
  expect(fetched).toEqual({ stdout, stderr: '', code: 0 });
});

const interrupted: Readonly<Record<string, string>> = {
  'a query': 'select pg_sleep(60)',
  'a query in a transaction': 'begin; insert into t values (1); select pg_sleep(60)',
  'a large result': "select i, repeat('y', 100), pg_sleep(0.0001) from generate_series(1, 10000000) i",
  'a COPY out': "copy (select i, repeat('y', 100), pg_sleep(0.0001) from generate_series(1, 10000000) i) to stdout",
};

for (const [name, sql] of Object.entries(interrupted)) {
  itQueries(`stops ${name} at Ctrl-C`, async () => {
    const pool = await onePool();
    await pool.cluster.query('create table t (a int); grant all on t to public', [], pool.database);
    const pid = await pool.backend();
    for (let round = 0; round < 3; round++) {
      const terminal = new SystemProcess('psql', [...QUIET, pool.url]);
      terminal.write(`${sql};\n`);
      while (
        !(await pool.cluster.activity(pool.database)).some(
          ({ state, query }) => state === 'active' && /sleep/.test(query),
        )
      );
      terminal.interrupt();
      const { stderr } = await terminal.end();
      expect(stderr).toContain('canceling statement due to user request');
    }
    expect(await pool.backend()).toBe(pid);
    expect(await pool.cluster.query('select * from t', [], pool.database)).toEqual([]);
  });
}

itQueries('speaks protocol 3.2 with libpq 18: queries, and Ctrl-C by a long key', async () => {
  const pool = await onePool();
  const pid = await pool.backend();
  // libpq 18 leaves if less is negotiated; an older one does not know these options.
  const url = `${pool.url}?min_protocol_version=3.2&max_protocol_version=3.2`;
  const terminal = new SystemProcess('psql', [...QUIET, url], { LD_LIBRARY_PATH: librariesOf18() });
  terminal.write("select 'answer ' || 42;\nselect pg_sleep(60);\n");
  await terminal.says('answer 42');
  while ((await pool.cluster.activity(pool.database)).every(({ state }) => state !== 'active'));
  terminal.interrupt();
  const { stderr } = await terminal.end();
  expect(stderr).toContain('canceling statement due to user request');
  expect(await pool.backend()).toBe(pid);
});

itQueries('logs in with every kind of password', async () => {
  const pool = await onePool({ auth_type: 'scram-sha-256' });
  for (const [user, password] of [
    ['alice', 'alice-secret'],
    ['postgres', 'postgres-secret'],
  ] as const) {
    const argv = [
      ...QUIET,
      '-h',
      pool.host,
      '-p',
      String(pool.port),
      '-U',
      user,
      '-d',
      pool.database,
      '-c',
      'select current_user',
    ];
    const right = await new SystemProcess('psql', argv, { PGPASSWORD: password }).end();
    expect(right).toEqual({ stdout: `${user}\n`, stderr: '', code: 0 });
    const wrong = await new SystemProcess('psql', argv, { PGPASSWORD: `${password}!` }).end();
    expect(wrong.stderr).toContain('FATAL:  password authentication failed');
    expect(wrong.code).toBe(2);
  }
});

itQueries('keeps its settings in session mode', async () => {
  const pool = await onePool({ pool_mode: 'session' });
  const { stdout } = await psql(
    pool,
    'set search_path = pg_catalog; prepare p as select 7; create temp table x (a int); execute p; show search_path;',
  );
  expect(stdout).toContain('7\npg_catalog\n');
  const next = await psql(pool, 'show search_path; execute p; select * from x;');
  expect(next.stdout).toBe('"$user", public\n');
  expect(next.stderr).toContain('prepared statement "p" does not exist');
  expect(next.stderr).toContain('relation "x" does not exist');
  expect(await pool.backends()).toHaveLength(1);
});
