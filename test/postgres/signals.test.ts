/** The program's signals and exit codes, as PgBouncer has them. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { outcome, type TcpAddress, TcpClient } from '../support/corpus/tcp-client.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { type PoolerProcess, poolerProcess, runProgram } from './pooler-process.ts';

const cluster = sharedCluster(18);
const GONE = { code: 0, signal: null };

/** With PgBouncer's way of shutting down. */
function start(pool_size = 1, settings: object = { shutdown_timeout: 0 }): Promise<PoolerProcess> {
  return poolerProcess({ cluster, pool_mode: 'transaction', pool_size, ...settings });
}

/** Resolves when nobody is let in any more. */
async function refused(address: TcpAddress): Promise<void> {
  for (;;) {
    const probe = await TcpClient.connect(address).catch(() => null);
    if (probe === null) return;
    await probe.drop();
  }
}

/** Resolves when PostgreSQL runs a statement with `word` in it. */
async function runs({ database }: PoolerProcess, word: string): Promise<void> {
  for (;;) {
    const activity = await cluster.activity(database);
    if (activity.some(({ state, query }) => state === 'active' && query.includes(word))) return;
  }
}

async function expectPortFree({ host, port }: TcpAddress): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, host, resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}

async function lastError(client: TcpClient): Promise<Record<string, string>> {
  const error = (await client.rest()).findLast(({ type }) => type === 'E');
  await client.drop();
  return error === undefined ? {} : errorFields(error.body);
}

it('waits for its clients after SIGTERM, who go on as before', async () => {
  const pool = await start();
  const [first, second] = [await pool.raw(), await pool.raw()];
  await first.query('begin');
  pool.signal('SIGTERM');
  await refused(pool);
  await first.query('commit');
  expect((await first.query('select 1')).rows).toEqual([['1']]);
  expect((await second.query('select 2')).rows).toEqual([['2']]);
  await first.leave();
  expect((await second.query('select 3')).rows).toEqual([['3']]);
  expect(pool.hasEnded).toBe(false);
  await second.leave();
  expect(await pool.ended).toEqual(GONE);
  await expectPortFree(pool);
  expect(await cluster.connectionCount(pool.database)).toBe(0);
});

it('ends at once after a second SIGTERM', async () => {
  const pool = await start();
  const client = await pool.raw();
  await client.query('begin');
  pool.signal('SIGTERM');
  await refused(pool);
  expect((await client.query('select 1')).status).toBe('T');
  pool.signal('SIGTERM');
  expect(await lastError(client)).toMatchObject({ C: '57P01' });
  expect(await pool.ended).toEqual(GONE);
  await expectPortFree(pool);
});

it('waits for its servers after SIGINT: transactions end, others are told', async () => {
  const pool = await start();
  const [active, waiting, idle] = [await pool.raw(), await pool.raw(), await pool.raw()];
  await cluster.query('create table t (a int); grant all on t to public', [], pool.database);
  await active.query('begin; insert into t values (1)');
  waiting.send(bytes.query('select 1'));
  await (await pool.raw()).leave();
  pool.signal('SIGINT');
  expect(await lastError(waiting)).toMatchObject({ S: 'FATAL', C: '57P01' });
  await refused(pool);
  expect((await active.query('select count(*) from t')).rows).toEqual([['1']]);
  active.send(bytes.query('commit'));
  expect(outcome(await active.take('Z')).tags).toEqual(['COMMIT']);
  expect(await pool.ended).toEqual(GONE);
  await Promise.all([active.drop(), idle.drop()]);
  expect(await cluster.query('select * from t', [], pool.database)).toEqual([{ a: 1 }]);
  await expectPortFree(pool);
});

it('ends at once after SIGQUIT', async () => {
  const pool = await start();
  const client = await pool.raw();
  await cluster.query('create table t (a int); grant all on t to public', [], pool.database);
  await client.query('begin; insert into t values (1)');
  pool.signal('SIGQUIT');
  expect(await pool.ended).toEqual(GONE);
  await client.rest();
  await client.drop();
  await expectPortFree(pool);
  while ((await cluster.connectionCount(pool.database)) > 0);
  expect(await cluster.query('select * from t', [], pool.database)).toEqual([]);
});

it('ends at once when nobody is there, for each of the signals', async () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
    const pool = await start();
    const client = await pool.raw();
    await client.query('select 1');
    await client.leave();
    pool.signal(signal);
    expect(await pool.ended).toEqual(GONE);
  }
});

it('pauses at SIGUSR1, and goes on at SIGUSR2', async () => {
  const pool = await start();
  const client = await pool.raw();
  await client.query('select 1');
  pool.signal('SIGUSR1');
  while ((await cluster.connectionCount(pool.database)) > 0);
  const answer = client.query('select 2');
  pool.signal('SIGUSR2');
  await answer;
  expect(await cluster.connectionCount(pool.database)).toBe(1);
  expect(pool.stderr).toBe('');
  await client.leave();
});

it('drains after SIGTERM where shutdown_timeout is set: idle clients are told, others after their transaction', async () => {
  const pool = await start(2, {});
  const [active, idle] = [await pool.raw(), await pool.raw()];
  await cluster.query('create table t (a int); grant all on t to public', [], pool.database);
  await active.query('begin; insert into t values (1)');
  pool.signal('SIGTERM');
  expect(await lastError(idle)).toMatchObject({ S: 'FATAL', C: '57P01' });
  await refused(pool);
  active.send(bytes.query('commit'));
  expect(outcome(await active.take('Z')).tags).toEqual(['COMMIT']);
  expect(await lastError(active)).toMatchObject({ C: '57P01' });
  expect(await pool.ended).toEqual(GONE);
  expect(await cluster.query('select * from t', [], pool.database)).toEqual([{ a: 1 }]);
  expect(await cluster.connectionCount(pool.database)).toBe(0);
});

it('cancels at the end of shutdown_timeout what has not ended by itself', async () => {
  const pool = await start(2, { shutdown_timeout: 0.3 });
  const [running, open] = [await pool.raw(), await pool.raw()];
  await open.query('begin');
  running.send(bytes.query('select pg_sleep(1000)'));
  await runs(pool, 'pg_sleep');
  pool.signal('SIGTERM');
  expect(await lastError(running)).toMatchObject({ C: '57P01' });
  expect(await lastError(open)).toMatchObject({ C: '57P01' });
  expect(await pool.ended).toEqual(GONE);
  while ((await cluster.connectionCount(pool.database)) > 0);
});

it('lets clients in for shutdown_delay after SIGTERM', async () => {
  const pool = await start(2, { shutdown_delay: 1000 });
  pool.signal('SIGTERM');
  while (!pool.log.some((line) => line.includes('shutting down'))) await (await pool.raw()).leave();
  const late = await pool.raw();
  expect((await late.query('select 1')).rows).toEqual([['1']]);
  pool.signal('SIGTERM');
  expect(await pool.ended).toEqual(GONE);
  await late.rest();
  await late.drop();
});

it.each(['SIGHUP', 'SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const)(
  'a query in flight at %s is answered or refused',
  async (signal) => {
    const pool = await start(1, {});
    const client = await pool.raw();
    client.send(bytes.query("select pg_sleep(0.2), 'token'"));
    await runs(pool, 'token');
    pool.signal(signal);
    if (signal === 'SIGQUIT') {
      // The process ends with its sockets: the client sees the end of the connection.
      expect(await client.rest()).toEqual([]);
    } else {
      expect(outcome(await client.take('Z')).rows).toEqual([['', 'token']]);
    }
    await client.drop();
  },
);

it('takes a thousand SIGHUPs while clients work, and goes by the file in the end', async () => {
  const pool = await start(2, {});
  const config = JSON.parse(readFileSync(pool.file, 'utf8')) as { pgbouncer: Record<string, unknown> };
  const flooded = { sent: 0 };
  const work = async (): Promise<void> => {
    const client = await pool.raw();
    for (let i = 0; flooded.sent < 1000; i++)
      expect((await client.query(`select 'token ${i}'`)).rows).toEqual([[`token ${i}`]]);
    await client.leave();
  };
  const flood = async (): Promise<void> => {
    const client = await pool.raw();
    for (; flooded.sent < 1000; flooded.sent++) {
      config.pgbouncer['default_pool_size'] = 1 + (flooded.sent % 7);
      writeFileSync(pool.file, JSON.stringify(config));
      pool.signal('SIGHUP');
      if (flooded.sent % 25 === 0) await client.query('select 1');
    }
    await client.leave();
  };
  await Promise.all([work(), work(), flood()]);
  config.pgbouncer['default_pool_size'] = 'wrong';
  writeFileSync(pool.file, JSON.stringify(config));
  const client = await pool.raw();
  const failures = (): number => pool.log.filter((line) => line.includes('reload failed')).length;
  // A file that is half written may have been refused before.
  const before = failures();
  pool.signal('SIGHUP');
  while (failures() === before) await client.query('select 1');
  expect(pool.log.findLast((line) => line.includes('reload failed'))).toContain('default_pool_size');
  expect(pool.stderr).toBe('');
  await client.leave();
});

it('leaves no transaction in PostgreSQL when it is killed', async () => {
  const pool = await start();
  const client = await pool.raw();
  await cluster.query('create table t (a int); grant all on t to public', [], pool.database);
  await client.query('begin; insert into t values (1)');
  pool.signal('SIGKILL');
  expect((await pool.ended).signal).toBe('SIGKILL');
  await client.drop();
  while ((await cluster.connectionCount(pool.database)) > 0);
  expect(await cluster.query('select * from t', [], pool.database)).toEqual([]);
});

it('says why it does not start, and ends with 1', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void taken.close());
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const databases = 'databases:\n  app: host=127.0.0.1\n';
  const cases: readonly (readonly [string[], number, RegExp])[] = [
    [[write('unknown.yaml', 'pgbouncer:\n  pool_mod: session\n')], 1, /unknown\.yaml:2.*pool_mod.*pool_mode/s],
    [[write('taken.yaml', `pgbouncer:\n  listen_port: ${port}\n${databases}`)], 1, /EADDRINUSE/],
    [[write('users.yaml', `pgbouncer:\n  listen_port: 0\n  auth_file: nowhere.txt\n${databases}`)], 1, /nowhere\.txt/],
    [[join(folder, 'nowhere.yaml')], 1, /nowhere\.yaml.*no such file/],
    [['one.yaml', 'two.yaml'], 2, /usage/],
    [['--wrong'], 2, /usage/],
  ];
  for (const [argv, code, words] of cases) {
    const program = await runProgram(argv);
    expect(await program.ended, argv.join(' ')).toEqual({ code, signal: null });
    expect(program.stderr()).toMatch(words);
  }
});
