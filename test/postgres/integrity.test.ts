/**
 * Every byte of large results and uploads, with readers that stop and go: what a slow client is still owed lies in memory
 * that the server it came from is already being read into for somebody else.
 */
import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { rowValues } from '../support/corpus/server-message.ts';
import { outcome, type TcpClient } from '../support/corpus/tcp-client.ts';
import { pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { startTlsCluster, type TlsCluster } from '../support/tls-cluster.ts';
import { chance } from './chaos.ts';

const CLIENTS = 10;
const ROUNDS = 6;
/** Everything is encrypted and decrypted four times in this one process. */
const ROUNDS_WITH_TLS = 3;

/** Row `i` of a result that begins with `seed`: its length and its letter depend on both. */
const lengthOf = (seed: number, i: number): number => (seed * 7919 + i * 104_729) % 9000;
const letterOf = (seed: number, i: number): string => String.fromCharCode(97 + ((seed + i) % 26));
const textOf = (client: number, line: number): string => letterOf(client, line).repeat(lengthOf(client, line) % 2000);
const resultOf = (seed: number, rows: number): string =>
  `select i, repeat(chr(97 + (${seed} + i) % 26), (${seed} * 7919 + i * 104729) % 9000)
     from generate_series(0, ${rows - 1}) i`;

/** Reads with stops of chance until `client` has `count` ReadyForQuery, or the connection is at its end. */
async function readHaltingly(client: TcpClient, count: number, random: () => number): Promise<void> {
  const done = client.reach('Z', count).then(() => true);
  let isDone = false;
  while (!isDone) {
    const goal = client.bytesReceived + Math.floor(random() * 3_000_000);
    // Long enough, now and then, for all buffers of the system to fill up.
    client.pause();
    for (let turns = Math.floor(random() ** 3 * 400); turns > 0; turns--) await turn();
    client.resume();
    isDone = await Promise.race([done, client.received(goal).then(() => false)]);
  }
}

function expectRows(client: TcpClient, seed: number, rows: number): void {
  const messages = client.messages.splice(0);
  const got = messages.filter(({ type }) => type === 'D').map(({ body }) => rowValues(body));
  expect(got).toHaveLength(rows);
  for (const [i, [number, text]] of got.entries()) {
    const right = letterOf(seed, i).repeat(lengthOf(seed, i));
    // Without a diff of thousands of letters.
    if (number !== String(i) || text !== right) throw new Error(`row ${i} of ${seed} is wrong`);
  }
  expect(outcome(messages)).toMatchObject({ sqlstate: null, status: 'I', tags: [`SELECT ${rows}`] });
}

let tls: TlsCluster;
beforeAll(async () => {
  tls = await startTlsCluster({ version: 18 });
});
afterAll(() => tls.close());

describe.each([
  ['direct I/O', () => ({ cluster: sharedCluster(18) })],
  ['stream I/O', () => ({ cluster: sharedCluster(18), directIo: false })],
  ['TLS on both sides', () => ({ cluster: tls.cluster, rawTls: true, ...tls.settings })],
  [
    'TLS on both sides, over stream I/O',
    () => ({ cluster: tls.cluster, rawTls: true, ...tls.settings, directIo: false }),
  ],
] as const)('with %s', (name, options) => {
  it.each([1, 3])('gives slow readers every byte of theirs, from %i servers', async (poolSize) => {
    const pool = await pooler({
      ...options(),
      pool_mode: 'transaction',
      pool_size: poolSize,
      expectedCloses: ['recovery_timeout'],
    });
    const random = chance(20_261_131 + poolSize);
    const work = async (index: number): Promise<void> => {
      let client = await pool.raw();
      for (let round = 0; round < (name.startsWith('TLS') ? ROUNDS_WITH_TLS : ROUNDS); round++) {
        const seed = index * 1000 + round;
        const rows = 20 + Math.floor(random() ** 2 * 3000);
        const sql = bytes.query(resultOf(seed, rows));
        const isExtended = random() < 0.5;
        client.send(isExtended ? Buffer.concat([bytes.extended(resultOf(seed, rows)), bytes.sync]) : sql);
        if (random() < 0.15) {
          // Goes in the middle of it.
          await client.received(client.bytesReceived + 50_000);
          await client.drop(random() < 0.5 ? 'fin' : 'rst');
          client = await pool.raw();
          continue;
        }
        await readHaltingly(client, 1, random);
        expectRows(client, seed, rows);
      }
      await client.leave();
    };
    await Promise.all(Array.from({ length: CLIENTS }, (_, index) => work(index)));
    expect(await pool.backends()).toHaveLength(poolSize);
  });

  it('stores every byte that is copied in, by many at a time', async () => {
    const pool = await pooler({ ...options(), pool_mode: 'transaction', pool_size: 2 });
    await pool.cluster.query(
      'create table t (client int, line int, text text); grant all on t to public',
      [],
      pool.database,
    );
    const random = chance(20_261_132);
    const lines = 3000;
    const work = async (index: number): Promise<string> => {
      const client = await pool.raw();
      const data = Array.from({ length: lines }, (_, i) => `${index}\t${i}\t${textOf(index, i)}\n`).join('');
      client.send(bytes.query('copy t from stdin'));
      for (let at = 0; at < data.length; ) {
        const piece = data.slice(at, at + 1 + Math.floor(random() * 100_000));
        await client.sendAll(bytes.copyData(piece));
        at += piece.length;
      }
      client.send(bytes.copyDone);
      expect(outcome(await client.take('Z'))).toMatchObject({ sqlstate: null, tags: [`COPY ${lines}`] });
      await client.leave();
      const texts = Array.from({ length: lines }, (_, i) => textOf(index, i)).join('');
      return createHash('md5').update(texts).digest('hex');
    };
    const sums = await Promise.all(Array.from({ length: 6 }, (_, index) => work(index)));
    const stored = await pool.cluster.query<{ sum: string }>(
      "select md5(string_agg(text, '' order by line)) as sum from t group by client order by client",
      [],
      pool.database,
    );
    expect(stored.map(({ sum }) => sum)).toEqual(sums);
    expect(await pool.backends()).toHaveLength(2);
  });

  it('gives a result back as it was sent, whatever its pipeline', async () => {
    const pool = await pooler({ ...options(), pool_mode: 'transaction', pool_size: 1 });
    const random = chance(20_261_133);
    const clients = await Promise.all(Array.from({ length: 4 }, () => pool.raw()));
    await Promise.all(
      clients.map(async (client, index) => {
        const values = Array.from({ length: 150 }, (_, i) => letterOf(index, i).repeat(Math.floor(random() * 60_000)));
        for (const value of values) client.send(bytes.extended('select $1::text', value), bytes.sync);
        await readHaltingly(client, values.length, random);
        const rows = client.messages.filter(({ type }) => type === 'D').map(({ body }) => rowValues(body)[0]);
        expect(rows.length).toBe(values.length);
        expect(rows.every((row, i) => row === values[i])).toBe(true);
        client.messages.length = 0;
      }),
    );
  });
});
