/** When a client gives its server back in transaction mode, seen by another one that waits for the only server. */
import { beforeEach, describe, expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { outcome, type TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

let pool: PoolerFixture;
let first: TcpClient;
let second: TcpClient;

beforeEach(async () => {
  pool = await pooler({ cluster: sharedCluster(18), pool_mode: 'transaction', pool_size: 1 });
  [first, second] = [await pool.raw(), await pool.raw()];
  await first.query('create table t (a int); select 1');
});

const insert = bytes.extended('insert into t values (1)');
const query = bytes.query("select 'asked'");

/** What the first one says last, what it hears then, and what it must say before the server is free. */
const holding: Readonly<
  Record<string, { says: Buffer; hears: readonly [string, number]; frees: Buffer; ready: number }>
> = {
  'has begun a transaction': { says: bytes.query('begin'), hears: ['Z', 1], frees: bytes.query('commit'), ready: 1 },
  'is in a failed transaction': {
    says: Buffer.concat([bytes.query('begin'), bytes.query('select 1/0')]),
    hears: ['Z', 2],
    frees: bytes.query('rollback'),
    ready: 1,
  },
  'has begun a batch behind a query': {
    says: Buffer.concat([query, insert]),
    hears: ['Z', 1],
    frees: bytes.sync,
    ready: 1,
  },
  'has had all of a batch answered': {
    says: Buffer.concat([bytes.parse('select $1::int'), bytes.describe('S'), bytes.flush]),
    hears: ['T', 1],
    frees: Buffer.concat([bytes.bind({ values: ['1'] }), bytes.execute(), bytes.sync]),
    ready: 1,
  },
  'has a portal with rows left': {
    says: Buffer.concat([bytes.parse('select generate_series(1, 9)'), bytes.bind(), bytes.execute('', 2), bytes.flush]),
    hears: ['s', 1],
    frees: bytes.sync,
    ready: 1,
  },
  'has had an error in a batch': {
    says: Buffer.concat([bytes.parse('select $1::int'), bytes.bind({ values: ['x'] }), bytes.execute(), bytes.flush]),
    hears: ['E', 1],
    frees: bytes.sync,
    ready: 1,
  },
  'has sent more after an error in a batch': {
    says: Buffer.concat([bytes.parse('selekt'), bytes.flush, insert, query, insert]),
    hears: ['E', 1],
    frees: bytes.sync,
    ready: 1,
  },
  'has sent half of the next message': {
    says: Buffer.concat([query, query.subarray(0, 9)]),
    hears: ['Z', 1],
    frees: query.subarray(9),
    ready: 1,
  },
  'copies in': {
    says: bytes.query('copy t from stdin'),
    hears: ['G', 1],
    frees: Buffer.concat([bytes.copyData('7\n'), bytes.copyDone]),
    ready: 1,
  },
  'copies in by a batch that had its Sync': {
    says: Buffer.concat([bytes.parse('copy t from stdin'), bytes.bind(), bytes.execute(), bytes.sync]),
    hears: ['G', 1],
    frees: Buffer.concat([bytes.copyDone, bytes.sync]),
    ready: 1,
  },
};

/** Whatever the pooler has been sent up to now, it has read. */
async function settled(): Promise<void> {
  await (await pool.raw()).leave();
  await (await pool.raw()).leave();
}

describe.each(Object.entries(holding))('a client that %s', (_name, { says, hears, frees, ready }) => {
  it('keeps its server until it is done, and not longer', async () => {
    first.send(says);
    await first.reach(...hears);
    first.messages.length = 0;
    second.send(bytes.query("select 'mine'"));
    await settled();
    expect(second.messages).toEqual([]);
    first.send(frees);
    await first.take('Z', ready);
    expect(outcome(await second.take('Z')).rows).toEqual([['mine']]);
  });
});

const free: Readonly<Record<string, Buffer>> = {
  'nothing more': Buffer.alloc(0),
  'a Flush': bytes.flush,
  'what is left of a COPY': Buffer.concat([bytes.copyData('1\n'), bytes.copyDone, bytes.copyFail('late')]),
};

describe.each(Object.entries(free))('a client that has sent %s behind its query', (_name, rest) => {
  it('gives its server back, and asks for none', async () => {
    first.send(query, rest);
    await first.take('Z');
    expect((await second.query('begin')).status).toBe('T');
    first.send(rest);
    await settled();
    // It waits for nothing, so that it can leave the other one alone.
    expect((await second.query('commit')).status).toBe('I');
    expect((await first.query('select 1')).rows).toEqual([['1']]);
  });
});

it('needs a whole header to know that a client wants a server', async () => {
  first.send(query, query.subarray(0, 4));
  await first.take('Z');
  expect((await second.query('begin')).status).toBe('T');
  expect((await second.query('commit')).status).toBe('I');
  first.send(query.subarray(4));
  expect(outcome(await first.take('Z')).rows).toEqual([['asked']]);
});

it('holds who asks in the middle of another one’s transaction, in whatever pieces the question comes', async () => {
  await first.query('begin');
  for (const byte of Buffer.concat([query, bytes.extended('select 2'), bytes.sync])) {
    second.send(Buffer.of(byte));
    await settled();
  }
  expect(second.messages).toEqual([]);
  await first.query('commit');
  expect(outcome(await second.take('Z', 2)).rows).toEqual([['asked'], ['2']]);
});

it('holds megabytes for who waits no longer than it must', async () => {
  await first.query('begin');
  const value = 'v'.repeat(5_000_000);
  second.send(bytes.extended('select length($1)', value), bytes.sync);
  await settled();
  await first.query('commit');
  expect(outcome(await second.take('Z')).rows).toEqual([['5000000']]);
});
