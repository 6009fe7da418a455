/** Poolers of one group: a cancel reaches its query, whichever of them it comes to, and also while one of them drains. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { outcome, TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const cluster = sharedCluster(18);

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tsbouncer-peers-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function cancelAt(pool: PoolerFixture, key: Buffer): Promise<void> {
  const connection = await TcpClient.connect(pool);
  connection.send(bytes.cancelRequest(key));
  expect(await connection.rest()).toEqual([]);
  await connection.drop();
}

async function running(pool: PoolerFixture): Promise<void> {
  while (!(await cluster.activity(pool.database)).some(({ state }) => state === 'active'));
}

it.each(['by TCP', 'over a Unix socket'])('passes a cancel on to the pooler whose client it means, %s', async (way) => {
  const unix_socket_dir = folder();
  const first = await pooler({ cluster, peer_id: 1, ...(way === 'by TCP' ? {} : { unix_socket_dir }) });
  const host = way === 'by TCP' ? first.host : unix_socket_dir;
  const peers = { 1: { host, port: first.port }, 2: { host: '127.0.0.1', port: 1 } };
  const second = await pooler({ cluster, peer_id: 2, peers });
  const third = await pooler({ cluster, peer_id: 3, peers: { 1: { host: second.host, port: second.port } } });
  const client = await first.raw();
  expect((await client.query('begin; select 1')).status).toBe('T');
  // From the third it takes two hops: that one believes that the second is the first.
  for (const pool of [second, third, first]) {
    client.send(bytes.query('savepoint here; select pg_sleep(60)'));
    await running(first);
    await cancelAt(pool, client.cancelKey);
    expect(outcome(await client.take('Z'))).toMatchObject({ sqlstate: '57014', status: 'E' });
    expect((await client.query('rollback to here')).status).toBe('T');
  }
});

it('cancels what runs on a pooler that drains: its Unix socket stays open for that, and for nobody new', async () => {
  const unix_socket_dir = folder();
  const first = await pooler({ cluster, peer_id: 1, unix_socket_dir, admin_users: 'dave' });
  const second = await pooler({ cluster, peer_id: 2, peers: { 1: { host: unix_socket_dir, port: first.port } } });
  const path = join(unix_socket_dir, `.s.PGSQL.${first.port}`);
  const client = await first.raw();
  client.send(bytes.query('begin; select pg_sleep(60)'));
  await running(first);
  const waited = first.pooler.waitForClients();
  const refused = connect(first.port, first.host);
  expect(await new Promise((resolve) => refused.once('error', ({ message }) => resolve(message)))).toMatch(
    'ECONNREFUSED',
  );

  const login = { host: unix_socket_dir, port: first.port, user: 'dave' };
  const newcomer = new Client({ ...login, database: first.database });
  await expect(newcomer.connect()).rejects.toMatchObject({ code: '57P01' });
  const operator = new Client({ ...login, database: 'pgbouncer' });
  await operator.connect();
  expect((await operator.query('show clients')).rows).toHaveLength(2);
  await operator.end();

  await cancelAt(second, client.cancelKey);
  expect(outcome(await client.take('Z'))).toMatchObject({ sqlstate: '57014', status: 'E' });
  expect(existsSync(path)).toBe(true);
  // Whoever comes again and again, or says nothing, holds up nobody.
  const over = new AbortController();
  const silent = connect(path);
  const again = async (): Promise<void> => {
    while (!over.signal.aborted) await new Client({ ...login, database: first.database }).connect().catch(() => {});
  };
  const crowd = Promise.all(Array.from({ length: 5 }, again));
  await client.leave();
  await waited;
  over.abort();
  await crowd;
  silent.destroy();
  expect(existsSync(path)).toBe(false);
});
