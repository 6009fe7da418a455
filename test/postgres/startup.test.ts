/**
 * The first packets of a connection, well and badly formed, and lengths that no message can have afterwards: answered or
 * closed at once, with nobody else noticing.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { decode, errorFields } from '../support/corpus/server-message.ts';
import { outcome, type TcpAddress, TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const cluster = sharedCluster(15);
/** Packets of a kind are answered in this time on average: one may have to wait for a busy machine. */
const AT_ONCE_MS = 100;
const VERSION_3 = 0x0003_0000;

let pool: PoolerFixture;
let bystander: TcpClient;

beforeEach(async () => {
  pool = await pooler({
    cluster,
    pool_mode: 'transaction',
    pool_size: 1,
    max_client_conn: 50,
    expectedCloses: ['abandoned'],
  });
  bystander = await pool.raw();
  expect((await bystander.query('begin; select 1')).status).toBe('T');
});

afterEach(async () => {
  expect(await bystander.query('select 2; commit')).toMatchObject({ rows: [['2']], status: 'I' });
});

const me = (): Record<string, string> => ({ user: 'dave', database: pool.database });
const pairs = (...texts: readonly string[]): Buffer => Buffer.concat([...texts.map(bytes.text), Buffer.of(0)]);

/** What the connection ends with after `first`: the error's SQLSTATE, or `closed` without one. */
async function endOf(first: Buffer): Promise<string> {
  const client = await TcpClient.connect(pool);
  client.send(first);
  const said = await client.rest();
  await client.drop();
  const error = said.findLast(({ type }) => type === 'E');
  expect(said.some(({ type }) => type === 'R')).toBe(false);
  return error === undefined ? 'closed' : (errorFields(error.body)['C'] ?? '');
}

async function expectEnds(packets: Readonly<Record<string, Buffer>>, sqlstate: string): Promise<void> {
  const started = performance.now();
  const ends: Record<string, string> = {};
  for (const [name, packet] of Object.entries(packets)) ends[name] = await endOf(packet);
  expect(ends).toEqual(Object.fromEntries(Object.keys(packets).map((name) => [name, sqlstate])));
  expect((performance.now() - started) / Object.keys(packets).length).toBeLessThan(AT_ONCE_MS);
}

describe('a startup packet', () => {
  it('of a length that it cannot have ends the connection', async () => {
    const lengths = [0, 1, 2, 3, 4, 5, 6, 7, 10_001, 65_536, 0x00ff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    const packets = lengths.map((length) => [
      `length ${length}`,
      Buffer.concat([bytes.int32(length), bytes.int32(VERSION_3)]),
    ]);
    await expectEnds(Object.fromEntries(packets), '08P01');
  });

  it('that begins with any other byte than a zero ends the connection', async () => {
    const others = Array.from({ length: 255 }, (_, i) => [
      `byte ${i + 1}`,
      Buffer.concat([Buffer.of(i + 1), bytes.int32(8)]),
    ]);
    await expectEnds(Object.fromEntries(others), '08P01');
    await expectEnds(
      { 'a password first': bytes.password('secret'), 'a query first': bytes.query('select 1') },
      '08P01',
    );
  });

  it('of a protocol that there is not ends the connection', async () => {
    const body = pairs('user', 'dave');
    const versions = [0x0001_0000, 0x0004_0000, 0x0000_0000, 0x0005_0001, 0x7fff_ffff, 80_877_105];
    await expectEnds(
      Object.fromEntries(versions.map((code) => [String(code), bytes.startupPacket(code, body)])),
      '0A000',
    );
    await expectEnds({ 'version 2': bytes.startupPacket(0x0002_0000, Buffer.alloc(288)) }, '0A000');
  });

  it('with malformed parameters ends the connection', async () => {
    await expectEnds(
      {
        'no body': bytes.startupPacket(VERSION_3, Buffer.alloc(0)),
        'no last NUL': bytes.startupPacket(VERSION_3, pairs('user', 'dave').subarray(0, -1)),
        'no value': bytes.startupPacket(VERSION_3, Buffer.concat([bytes.text('user'), Buffer.of(0)])),
        'half a value': bytes.startupPacket(VERSION_3, Buffer.from('user\0da')),
        'something behind the end': bytes.startupPacket(
          VERSION_3,
          Buffer.concat([pairs('user', 'dave'), Buffer.from('x')]),
        ),
        'another list behind the end': bytes.startupPacket(
          VERSION_3,
          Buffer.concat([pairs('user', 'dave'), pairs('user', 'x')]),
        ),
        'a database name of 64 bytes': bytes.startup({ user: 'dave', database: 'd'.repeat(64) }),
        'a user name of 128 bytes': bytes.startup({ user: 'u'.repeat(128) }),
      },
      '08P01',
    );
    await expectEnds(
      {
        'no user': bytes.startup({ database: pool.database }),
        'an empty user': bytes.startup({ user: '', database: pool.database }),
        'no parameters': bytes.startup({}),
        'User instead of user': bytes.startup({ User: 'dave' }),
      },
      '28000',
    );
    await expectEnds(
      {
        '__proto__ as user': bytes.startupPacket(VERSION_3, pairs('__proto__', 'dave', 'user', '__proto__')),
        'a user that is no UTF-8': bytes.startupPacket(VERSION_3, Buffer.from('user\0\xff\xfe\0\0', 'latin1')),
        'a user with a line break': bytes.startup({ user: 'dave\n', database: pool.database }),
      },
      '28P01',
    );
    await expectEnds(
      {
        'no such database': bytes.startup({ user: 'dave', database: 'no_such' }),
        'a database named like an option': bytes.startup({ user: 'dave', database: '-c foo' }),
        'a database named __proto__': bytes.startup({ user: 'dave', database: '__proto__' }),
        'the user name as database': bytes.startup({ user: 'dave' }),
        'an empty database': bytes.startup({ user: 'dave', database: '' }),
      },
      '3D000',
    );
  });

  it('may hold thousands of parameters, long values, and duplicates, of which the last one counts', async () => {
    const many = Array.from({ length: 800 }, (_, i) => [`x.y${i}`, '']).flat();
    const names = [
      ['user', 'dave', 'database', pool.database, ...many],
      ['user', 'dave', 'database', pool.database, 'application_name', 'n'.repeat(9000)],
      ['user', 'alice', 'user', 'dave', 'database', 'no_such', 'database', pool.database],
      [
        'user',
        'dave',
        'database',
        pool.database,
        'geqo',
        'on',
        'x.constructor',
        'y',
        'options',
        '-c geqo=1',
        'geqo',
        'off',
      ],
    ];
    await bystander.query('commit');
    for (const texts of names) {
      const client = await TcpClient.connect(pool);
      client.send(bytes.startupPacket(VERSION_3, pairs(...texts)));
      await client.take('Z');
      expect((await client.query('select current_user, current_database()')).rows).toEqual([['dave', pool.database]]);
      await client.leave();
    }
  });

  it('may ask for no replication', async () => {
    for (const value of ['false', 'off', 'no', '0']) await (await pool.raw({ replication: value })).leave();
  });
});

/** The answer to a startup packet as far as protocol versions go, and whether the cancel key is a long one. */
async function negotiated(address: TcpAddress, database: string, version: number, options: readonly string[]) {
  const client = await TcpClient.connect(address);
  client.send(bytes.startupPacket(version, pairs('user', 'dave', 'database', database, ...options)));
  const said = await client.take('Z');
  await client.leave();
  const beforeLogin = said.slice(
    0,
    said.findIndex(({ type }) => type === 'R'),
  );
  expect(said.filter(({ type }) => type === 'v')).toHaveLength(beforeLogin.length);
  return { messages: beforeLogin.map((message) => decode(message)), hasLongKey: client.cancelKey.length > 8 };
}

it('negotiates protocol versions and options as PostgreSQL 18 does', async () => {
  const server = sharedCluster(18);
  const options = [
    [],
    ['_pq_.some', 'on', '_pq_.other', '', '_pq_.some', 'off'],
    ['_pq_.some', 'on', 'application_name', 'x', '_PQ_.extension', 'y'],
  ];
  for (const minor of [0, 1, 2, 3, 9999, 65_535]) {
    for (const list of options) {
      const direct = await negotiated(server, 'postgres', VERSION_3 + minor, list);
      expect(await negotiated(pool, pool.database, VERSION_3 + minor, list), `3.${minor} ${list.join(' ')}`).toEqual(
        direct,
      );
      expect(direct.hasLongKey).toBe(minor >= 2);
    }
  }
});

it('negotiates before it looks at anything else, as PostgreSQL 18 does', async () => {
  for (const address of [sharedCluster(18), pool]) {
    const client = await TcpClient.connect(address);
    client.send(bytes.startupPacket(0x0003_0003, pairs('database', pool.database)));
    const said = await client.rest();
    expect(said.map(({ type }) => type)).toEqual(['v', 'E']);
    expect(errorFields(said[1]?.body ?? Buffer.alloc(0))['C']).toBe('28000');
    await client.drop();
  }
});

describe('a negotiation', () => {
  it.each([
    ['SSL', [bytes.sslRequest]],
    ['GSSAPI', [bytes.gssencRequest]],
    ['GSSAPI, then SSL', [bytes.gssencRequest, bytes.sslRequest]],
    ['SSL, then GSSAPI', [bytes.sslRequest, bytes.gssencRequest]],
  ])('of %s is answered no, and the login goes on', async (_name, requests) => {
    const client = await TcpClient.connect(pool);
    for (const request of requests) expect(await client.negotiate(request)).toBe('N');
    client.send(bytes.startup(me()));
    await client.take('Z');
    await client.leave();
  });

  it('that is asked for twice ends the connection', async () => {
    for (const request of [bytes.sslRequest, bytes.gssencRequest]) {
      const client = await TcpClient.connect(pool);
      await client.negotiate(request);
      client.send(request);
      expect(await client.fatal()).toBe('08P01');
      await client.drop();
    }
  });

  it('with anything behind it in the same packet ends the connection, and nothing of that is done', async () => {
    const login = Buffer.concat([bytes.startup(me()), bytes.query('create table injected (a int)')]);
    const packets: Record<string, Buffer> = {};
    for (const [name, request] of [
      ['SSL', bytes.sslRequest],
      ['GSSAPI', bytes.gssencRequest],
    ] as const) {
      packets[`${name} and a login`] = Buffer.concat([request, login]);
      packets[`${name} and a byte`] = Buffer.concat([request, Buffer.of(0)]);
      packets[`${name} and another negotiation`] = Buffer.concat([request, bytes.sslRequest]);
      packets[`${name} and a cancel`] = Buffer.concat([request, bytes.cancelRequest(bystander.cancelKey)]);
    }
    await expectEnds(packets, '08P01');
    expect(await cluster.query("select 1 from pg_class where relname = 'injected'", [], pool.database)).toEqual([]);
  });

  it('of a wrong length ends the connection', async () => {
    await expectEnds(
      {
        'SSL with a body': bytes.startupPacket(80_877_103, Buffer.of(0)),
        'GSSAPI with a body': bytes.startupPacket(80_877_104, Buffer.alloc(100)),
      },
      '08P01',
    );
  });
});

describe('after the login', () => {
  const lengths = [0, 1, 2, 3, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
  const types = ['\0', '\xff', 'a', 'Z', 'R', ...'QPBDECSHFdcfXp'.split('')];

  it('a length that no message can have ends the session, and no other', async () => {
    const started = performance.now();
    for (const type of types) {
      for (const length of lengths) {
        const client = await pool.raw();
        client.send(bytes.lyingHeader(type, length), Buffer.from('more'));
        expect(await client.fatal(), `${type} ${length}`).toMatch(/^(08P01|54000)$/);
        await client.drop();
      }
    }
    expect((performance.now() - started) / (types.length * lengths.length)).toBeLessThan(AT_ONCE_MS);
  });

  it('a Flush with a body ends the session after what came before it', async () => {
    await bystander.query('commit');
    const client = await pool.raw();
    client.send(bytes.query('select 1'), bytes.message('H', Buffer.from('x')), bytes.query('select 2'));
    const said = await client.rest();
    expect(outcome(said)).toMatchObject({ rows: [['1']], sqlstate: '08P01', status: 'I' });
    await client.drop();
  });

  it('the reason can be read, though megabytes come behind what was wrong', async () => {
    const wrong = [bytes.message('a'), bytes.lyingHeader('Q', 0), null];
    for (const message of wrong) {
      const client = message === null ? await TcpClient.connect(pool) : await pool.raw();
      client.send(message ?? bytes.startup({ user: 'nobody' }));
      // None of it is refused: a reset could overtake the reason.
      const sent = client.sendAll(Buffer.alloc(20_000_000, 0x20));
      expect(await client.fatal()).toBe(message === null ? '28P01' : '08P01');
      await sent;
      expect(client.error).toBeNull();
      await client.drop();
    }
  });

  it('a second startup packet ends the session', async () => {
    const client = await pool.raw();
    client.send(bytes.startup({ user: 'alice', database: pool.database }));
    expect(await client.fatal()).toBe('08P01');
    await client.drop();
  });
});

describe('limits on clients', () => {
  it('tell the fifty-first one which, and let it in when another has left', async () => {
    const clients = await Promise.all(Array.from({ length: 49 }, () => pool.raw()));
    const refused = await TcpClient.connect(pool);
    refused.send(bytes.startup(me()));
    const [error] = await refused.rest();
    expect(errorFields(error?.body ?? Buffer.alloc(0))).toMatchObject({
      S: 'FATAL',
      C: '53300',
      M: 'no more connections allowed (max_client_conn)',
      H: expect.stringContaining('max_client_conn'),
    });
    await refused.drop();
    await clients[0]?.leave();
    const next = await pool.raw();
    await Promise.all([next, ...clients].map((client) => client.leave()));
  });

  it('make room for a login among hundreds that say nothing', async () => {
    const silent = await Promise.all(Array.from({ length: 300 }, () => TcpClient.connect(pool)));
    const started = performance.now();
    await (await pool.raw()).leave();
    expect(performance.now() - started).toBeLessThan(1000);
    await Promise.all(silent.map((client) => client.drop()));
  });
});

it('takes a client that comes and goes without a word for a probe', async () => {
  const before = pool.log.length;
  for (let i = 0; i < 20; i++) await (await TcpClient.connect(pool)).drop(i % 2 === 0 ? 'fin' : 'rst');
  await (await pool.raw()).leave();
  expect(pool.log.slice(before).filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
});
