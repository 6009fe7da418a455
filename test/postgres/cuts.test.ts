/**
 * Clients that vanish after any number of bytes, with a FIN or a RST. What they had not finished never takes effect, no
 * transaction is left open, and whoever comes next on the same server gets its own answers.
 */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { makeCertificate, writeFiles } from '../support/certificates.ts';
import * as bytes from '../support/corpus/client-bytes.ts';
import { corpusSchema } from '../support/corpus/conversation.ts';
import { outcome } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const COPY = bytes.query('copy copied from stdin');
const row = bytes.copyData('1\tone\n');
const insert = (id: number): Buffer => bytes.extended(`insert into notes values (${id})`);

/** None of these says what would make its rows stay. */
const unfinished: Readonly<Record<string, readonly Buffer[]>> = {
  'a transaction': [
    bytes.query('begin'),
    bytes.query('insert into notes values (1)'),
    insert(2),
    bytes.sync,
    COPY,
    row,
    bytes.copyDone,
  ],
  'a batch': [
    bytes.parse('insert into notes values ($1)'),
    bytes.bind({ values: ['1'] }),
    bytes.execute(),
    bytes.flush,
  ],
  'a COPY': [COPY, row, row],
  'an extended COPY': [bytes.parse('copy copied from stdin'), bytes.bind(), bytes.execute(), bytes.sync, row, row],
};

/** `fin` and `rst` come when the pooler has read what was sent; `rst at once` may destroy that on its way. */
const cuts = ['fin', 'rst', 'rst at once'] as const;
type Cut = (typeof cuts)[number];

describe.each(Object.entries(unfinished))('%s', (name, messages) => {
  it.each(cuts)('leaves nothing when it is cut at any byte (%s)', (how) => leavesNothing(messages, how, true));
  if (name === 'a transaction') {
    it('leaves nothing when it is cut at any byte (stream I/O)', () => leavesNothing(messages, 'fin', false));
    it.each(['fin', 'rst'] as const)('leaves nothing when it is cut at many bytes (%s, with TLS)', (how) =>
      leavesNothing(messages, how, true, withTls()),
    );
  }
});

async function leavesNothing(
  messages: readonly Buffer[],
  how: Cut,
  directIo: boolean,
  settings: Partial<PoolerOptions> = {},
): Promise<void> {
  const pool = await corpusPool(directIo, settings);
  const conversation = Buffer.concat([login(pool), ...messages]);
  const pids = new Set<string>();
  // A handshake takes its time.
  const step = settings.rawTls === true ? 5 : 1;
  for (let length = 0; length <= conversation.length; length += step) {
    await cutAfter(pool, conversation.subarray(0, length), how);
    pids.add(await answersRightly(pool));
  }
  await expectNothingLeft(pool);
  expect(await pool.cluster.query('select * from notes', [], pool.database)).toEqual([]);
  expect(await pool.cluster.query('select * from copied', [], pool.database)).toEqual([]);
  // A message that was cut costs a server, one that was complete does not.
  if (how === 'fin') expect(pids.size).toBeGreaterThan(messages.length);
  expect(pids.size).toBeLessThan(conversation.length);
}

it.each(cuts)('runs statements that commit by themselves once or not at all (%s)', async (how) => {
  const pool = await corpusPool(true);
  const messages = [
    bytes.query('insert into notes values (1)'),
    insert(2),
    bytes.sync,
    bytes.query('insert into notes values (3)'),
  ];
  const conversation = Buffer.concat([login(pool), ...messages]);
  const first = login(pool).length + (messages[0]?.length ?? 0);
  const second = first + insert(2).length + bytes.sync.length;
  const observer = await pool.raw({ application_name: 'observer' });
  for (let length = login(pool).length; length <= conversation.length; length++) {
    await cutAfter(pool, conversation.subarray(0, length), how);
    await answersRightly(pool);
    const sent = length >= conversation.length ? 3 : length >= second ? 2 : length >= first ? 1 : 0;
    const { rows } = await observer.query('select id from notes order by id');
    const ids = rows.map(([id]) => Number(id));
    expect([1, 2, 3].slice(0, ids.length)).toEqual(ids);
    expect(ids.length).toBeLessThanOrEqual(sent);
    await observer.query('delete from notes');
  }
  await expectNothingLeft(pool);
});

it('closes a server that was sent half of a message, whatever the message is', async () => {
  const pool = await corpusPool(true);
  const large = 'x'.repeat(70_000);
  const halves: readonly (readonly [Buffer, Buffer])[] = [
    [Buffer.alloc(0), bytes.query(`select '${large}'`)],
    [bytes.query('begin'), bytes.query(`insert into notes values (1, '${large}')`)],
    [bytes.parse('select $1::text'), bytes.bind({ values: [large] })],
    [COPY, bytes.copyData(large)],
    [bytes.query('select 1'), bytes.functionCall(177, '1', large)],
  ];
  let before = await answersRightly(pool);
  for (const [whole, cut] of halves) {
    for (const how of cuts) {
      await cutAfter(pool, Buffer.concat([login(pool), whole, cut.subarray(0, 66_000)]), how);
      const after = await answersRightly(pool);
      // With a RST the pooler may not have read that far.
      if (how === 'fin') expect(after).not.toBe(before);
      before = after;
    }
  }
  await expectNothingLeft(pool);
});

it('answers what was asked before a Terminate, though the client sends no more', async () => {
  const pool = await corpusPool(true);
  const client = await pool.raw();
  await client.query('select 1');
  client.send(bytes.query("select pg_sleep(0.05), 'one'"), bytes.query("select 'two'"), bytes.terminate);
  client.finish();
  expect(outcome(await client.rest()).rows).toEqual([['', 'one'], ['two']]);
});

/** Clients come with TLS. */
function withTls(): Partial<PoolerOptions> {
  const certificate = makeCertificate();
  const { key, cert } = writeFiles({ key: certificate.key, cert: certificate.cert });
  return { rawTls: true, client_tls_sslmode: 'require', client_tls_key_file: key, client_tls_cert_file: cert };
}

async function corpusPool(directIo: boolean, settings: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  const pool = await pooler({
    cluster: sharedCluster(18),
    pool_mode: 'transaction',
    pool_size: 1,
    directIo,
    expectedCloses: ['abandoned'],
    ...settings,
  });
  await pool.cluster.query(corpusSchema, [], pool.database);
  return pool;
}

function login(pool: PoolerFixture): Buffer {
  return bytes.startup({ user: 'dave', database: pool.database });
}

async function cutAfter(pool: PoolerFixture, conversation: Buffer, how: Cut): Promise<void> {
  const client = await pool.connection();
  await client.sendAll(conversation);
  if (how === 'fin') {
    client.finish();
    await client.rest();
    await client.drop();
    return;
  }
  // Who can log in now has come after those bytes.
  if (how === 'rst') await (await pool.raw()).leave();
  await client.drop('rst');
}

/** Asks as somebody else, and returns the backend that has answered. */
async function answersRightly(pool: PoolerFixture): Promise<string> {
  const token = randomUUID();
  const client = await pool.raw();
  client.send(bytes.extended(`select $1::text, '${token}', pg_backend_pid()`, token), bytes.sync);
  const { rows } = outcome(await client.take('Z'));
  await client.leave();
  expect(rows).toEqual([[token, token, expect.any(String)]]);
  return rows[0]?.[2] ?? '';
}

async function expectNothingLeft(pool: PoolerFixture): Promise<void> {
  const sessions = await pool.cluster.activity(pool.database);
  expect(sessions.map(({ state }) => state)).toEqual(['idle']);
}
