/**
 * Thousands that connect and do not log in: silent ones, and those that name a user and then wait. Who is in works on,
 * who wants in gets in, and what they took is given back.
 */
import { Client } from 'pg';
import { expect, it } from 'vitest';
import { descriptorLimit } from '../../src/descriptor-limit.ts';
import * as bytes from '../support/corpus/client-bytes.ts';
import { TcpClient } from '../support/corpus/tcp-client.ts';
import { users } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { type PoolerProcess, poolerProcess } from './pooler-process.ts';

const MB = 1_048_576;

/** As many as were asked for, or as many as this process may have open, with some for itself. */
const most = Math.max(60, Math.min(6000, (descriptorLimit() ?? 1024) - 500));
const SILENT = Math.floor((most * 5) / 6);
const HALF = Math.floor(most / 6);
/** Connections that are made at once: the kernel's queue is not what is tested. */
const AT_ONCE = 200;
const QUERIES = 200;
const SERIES = 5;

async function logIn(pool: PoolerProcess): Promise<Client> {
  const { host, port, database } = pool;
  const client = new Client({ host, port, database, user: 'alice', password: users.alice.password });
  await client.connect();
  return client;
}

/**
 * The time that one query in a hundred takes longer than, in milliseconds; the least of several series, for what slows
 * down some of them is the machine, and what thousands of connections cost would slow down all.
 */
async function p99(clients: readonly Client[]): Promise<number> {
  const series: number[] = [];
  for (let n = 0; n < SERIES; n++) {
    const times: number[] = [];
    for (let i = 0; i < QUERIES; i++) {
      const began = performance.now();
      await clients[i % clients.length]!.query('select 1');
      times.push(performance.now() - began);
    }
    series.push(times.sort((a, b) => a - b)[Math.floor(QUERIES * 0.99)]!);
  }
  return Math.min(...series);
}

async function connectMany(pool: PoolerProcess, count: number, first: Buffer | null): Promise<TcpClient[]> {
  const all: TcpClient[] = [];
  while (all.length < count) {
    const some = Math.min(AT_ONCE, count - all.length);
    all.push(...(await Promise.all(Array.from({ length: some }, () => TcpClient.connect(pool)))));
    if (first !== null) for (const client of all.slice(-some)) client.send(first);
  }
  return all;
}

/** All of them at once, beside those who are in. Returns when the last is gone. */
async function flood(pool: PoolerProcess, inside: readonly Client[], beforeMs: number): Promise<void> {
  const silent = await connectMany(pool, SILENT, null);
  const half = await connectMany(pool, HALF, bytes.startup({ user: 'alice', database: pool.database }));
  // The last of them has been asked for its password: the others have been, too.
  await half.at(-1)!.take('R');
  expect(await p99(inside)).toBeLessThan(Math.max(2 * beforeMs, 20));
  const newcomers = await Promise.all(Array.from({ length: 20 }, () => logIn(pool)));
  for (const client of newcomers) expect((await client.query('select 1 as x')).rows).toEqual([{ x: 1 }]);
  await Promise.all(newcomers.map((client) => client.end()));
  await Promise.all([...silent, ...half].map((client) => client.drop()));
}

it('thousands that do not log in disturb nobody, and leave nothing', { timeout: 180_000 }, async () => {
  const pool = await poolerProcess({
    cluster: sharedCluster(18),
    auth_type: 'plain',
    pool_mode: 'transaction',
    pool_size: 4,
    // Half of it are slots for logins: fewer than there will be.
    max_client_conn: SILENT * 2,
    log_pooler_errors: false,
  });
  const inside = await Promise.all([1, 2, 3, 4].map(() => logIn(pool)));
  await p99(inside);
  const beforeMs = await p99(inside);
  const { descriptorCount } = pool;
  await flood(pool, inside, beforeMs);
  // The first flood shows how much such a flood takes; a second one must not take more.
  const afterFirst = pool.residentBytes;
  await flood(pool, inside, beforeMs);
  expect(pool.residentBytes - afterFirst).toBeLessThan(16 * MB);
  while (pool.descriptorCount > descriptorCount) await (await logIn(pool)).end();
  await Promise.all(inside.map((client) => client.end()));
  expect(pool.hasEnded).toBe(false);
});
