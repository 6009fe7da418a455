/** What a client may send before it is in (faults A1–A11; checklist 1–17): every answer, every refusal, nothing in between. */
import { describe, expect, test } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, sessionBench } from '../support/session-fixture.ts';
import { bytesOf, decode, errorFields, int32, client as m, packet, server as s } from '../support/wire.ts';

/** Sends raw bytes on a new connection. */
function attempt(bytes: Buffer, settings: BenchSettings = {}, setup: BenchSetup = {}) {
  const bench = sessionBench(settings, setup);
  const client = bench.connect();
  client.send(bytes);
  bench.run();
  return { bench, client };
}

const raw = (...bytes: readonly number[]) => Buffer.from(bytes);
const startup = (...pairs: readonly string[]) => packet(int32(196_608), ...pairs, Buffer.of(0));

describe('startup packets', () => {
  test('cut at every byte', () => {
    const bytes = Buffer.concat([
      m.startup({ user: 'app', database: 'app', application_name: 'x' }),
      m.query('SELECT a'),
    ]);
    for (let cut = 1; cut < bytes.length; cut++) {
      const bench = sessionBench({}, { manual: true });
      const client = bench.connect();
      client.send(bytes.subarray(0, cut));
      bench.run();
      client.send(bytes.subarray(cut));
      bench.run();
      expect(client.takeSummary()).toMatch(/^R S.* K Z\(I\) T D\(a\) C\(SELECT 1\) Z\(I\)$/);
      bench.finish();
    }
  });

  test('byte by byte', () => {
    const bench = sessionBench();
    const client = bench.connect();
    for (const byte of m.startup({ user: 'app', database: 'app' })) client.exchange(Buffer.of(byte));
    client.send(m.query('SELECT a'));
    bench.run();
    expect(client.takeSummary()).toContain('D(a)');
  });

  test.each([
    ['length 0', raw(0, 0, 0, 0)],
    ['length 7', raw(0, 0, 0, 7)],
    ['length 10,001', raw(0, 0, 0x27, 0x11)],
    ['length 2^31', raw(0x80, 0, 0, 0)],
    ['length 2^32 - 1', raw(255, 255, 255, 255)],
    ['a typed message', m.query('SELECT 1')],
    ['TLS without asking', raw(0x16, 3, 1, 2, 0)],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['no terminator', packet(int32(196_608), 'user', 'app')],
    ['a name without a value', packet(int32(196_608), 'user')],
    ['bytes after the terminator', packet(int32(196_608), 'user', 'app', Buffer.of(0, 65))],
    ['a value that is not terminated', packet(int32(196_608), 'user', Buffer.from('app'))],
    ['a negotiation of 9 bytes', packet(int32(80_877_103), Buffer.of(0))],
    ['a user name of 200 bytes', startup('user', 'u'.repeat(200))],
    ['a database name of 100 bytes', startup('user', 'app', 'database', 'd'.repeat(100))],
  ])('%s: 08P01, closed at once', (_what, bytes) => {
    const { bench, client } = attempt(bytes);
    expect(client.takeSummary()).toBe('E(08P01)');
    expect(client.isEnded).toBe(true);
    expect(bench.postgres.streams.size).toBe(0);
  });

  test.each([
    ['without a key', packet(int32(80_877_102))],
    ['with a key of 300 bytes', packet(int32(80_877_102), Buffer.alloc(300))],
    ['with a key of 7 bytes', packet(int32(80_877_102), Buffer.alloc(7))],
    ['with a key that nobody has', packet(int32(80_877_102), Buffer.alloc(8))],
  ])('a cancel %s is closed without a word', (_what, bytes) => {
    const { client } = attempt(bytes);
    expect(client.chunks).toEqual([]);
    expect(client.isEnded).toBe(true);
  });

  test('a cancel with bytes behind it is closed without a word, cut anywhere', () => {
    const bytes = Buffer.concat([packet(int32(80_877_102), Buffer.alloc(8)), raw(0, 1, 2)]);
    for (let cut = 1; cut <= bytes.length; cut++) {
      const bench = sessionBench({}, { manual: true });
      const client = bench.connect();
      client.send(bytes.subarray(0, cut));
      bench.run();
      client.send(bytes.subarray(cut));
      bench.run();
      expect(client.chunks).toEqual([]);
      expect(client.isEnded).toBe(true);
      bench.finish();
    }
  });

  test.each([
    ['no user', '28000', startup('database', 'app')],
    ['an empty user', '28000', startup('user', '', 'database', 'app')],
    ['nothing at all', '28000', startup()],
    ['protocol 2', '0A000', packet(int32(131_072))],
    ['protocol 4', '0A000', packet(int32(4 << 16))],
    ['code 8', '0A000', packet(int32(8))],
    ['replication that is no boolean', '22023', startup('user', 'app', 'replication', 'maybe')],
    ['the same without a user', '22023', startup('replication', 'maybe')],
    ['a database that does not exist', '3D000', startup('user', 'app', 'database', 'none')],
  ])('%s: %s', (_what, code, bytes) => {
    const { client } = attempt(bytes);
    expect(client.takeSummary()).toBe(`E(${code})`);
    expect(client.isEnded).toBe(true);
  });

  test('replication=off is no replication', () => {
    expect(attempt(startup('user', 'app', 'replication', 'off')).client.takeSummary()).toContain('Z(I)');
  });

  test('without a database, or with an empty one, it is the user’s name', () => {
    for (const pairs of [
      ['user', 'app'],
      ['user', 'app', 'database', ''],
    ]) {
      const { bench, client } = attempt(startup(...pairs));
      expect(client.takeSummary()).toContain('Z(I)');
      expect(bench.pool('app', 'app').clients).toBe(1);
    }
  });

  test('of a name given twice the last value counts, as in PostgreSQL', () => {
    const { bench, client } = attempt(startup('user', 'eve', 'user', 'app', 'database', 'none', 'database', 'app'));
    expect(client.takeSummary()).toContain('Z(I)');
    expect(bench.pool('app', 'app').clients).toBe(1);
  });

  test('names of the language are nothing special', () => {
    const pairs = ['user', '__proto__', 'database', 'app', '__proto__', 'x', 'constructor', 'y', 'toString', 'z'];
    const { bench, client } = attempt(startup(...pairs), {}, { secrets: JSON.parse('{"__proto__":"secret"}') });
    expect(client.takeSummary()).toContain('Z(I)');
    expect(bench.pool('app', '__proto__').clients).toBe(1);
  });

  test('10,000 bytes of parameters are fine', () => {
    const pairs = Array.from({ length: 400 }, (_, i) => [`parameter_${i}`, 'x'.repeat(10)]).flat();
    const { client } = attempt(startup('user', 'app', 'database', 'app', ...pairs));
    expect(client.takeSummary()).toContain('Z(I)');
  });

  test('a user without a secret is refused with trust, and nothing reaches a server', () => {
    const { bench, client } = attempt(startup('user', 'nobody', 'database', 'app'), {}, { secrets: { app: 'x' } });
    expect(client.takeSummary()).toBe('E(28P01)');
    expect(bench.postgres.streams.size).toBe(0);
  });
});

/** Takes what has come, as type bytes. */
const typesOf = (client: SessionClient): string =>
  client
    .take()
    .map(({ type }) => type)
    .join('');

describe('protocol versions', () => {
  test.each([0, 1, 2])('3.%i is spoken without a word about it', (minor) => {
    const { client } = attempt(m.startup({ user: 'app', database: 'app' }, (3 << 16) | minor));
    expect(typesOf(client)).toMatch(/^RS+KZ$/);
  });

  test.each([3, 9999, 65_535])('3.%i is negotiated down to 3.2, before authentication, once', (minor) => {
    const { client } = attempt(m.startup({ user: 'app', database: 'app' }, (3 << 16) | minor));
    expect(client.messages[0]).toEqual(decode(s.negotiate(2))[0]);
    expect(typesOf(client)).toMatch(/^vRS+KZ$/);
  });

  test.each([
    [0, 8],
    [1, 8],
    [2, 32],
    [9999, 32],
  ])('a client that asks for 3.%i gets a cancel key of %i bytes', (minor, length) => {
    const bench = sessionBench();
    const client = bench.client({ version: (3 << 16) | minor });
    expect(client.key).toHaveLength(length);
    // libpq reads the process id as signed.
    expect(client.key.readInt32BE(0)).toBeGreaterThanOrEqual(0);
  });

  test.each([0, 1, 2])('_pq_ options are named as not understood, others are not, and 3.%i stays', (minor) => {
    const { bench, client } = attempt(
      packet(
        int32((3 << 16) | minor),
        bytesOf('user', 'app', '_pq_.command_close', '1', 'search_path', 'x', '_pq_.other', '2', '_pq_.other', '2'),
        Buffer.of(0),
      ),
    );
    const names = ['_pq_.command_close', '_pq_.other', '_pq_.other'];
    expect(client.messages[0]).toEqual(decode(s.negotiate(minor, ...names))[0]);
    expect(typesOf(client)).toMatch(/^vRS+KZ$/);
    expect(JSON.stringify(bench.log)).not.toContain('_pq_');
    expect([...bench.server().startup.keys()].filter((name) => name.startsWith('_pq_'))).toEqual([]);
  });

  test('newer and with an option, as libpq asks to find out who cannot negotiate', () => {
    const grease = { user: 'app', database: 'app', '_pq_.test_protocol_negotiation': '' };
    const { client } = attempt(m.startup(grease, (3 << 16) | 9999));
    expect(client.messages[0]).toEqual(decode(s.negotiate(2, '_pq_.test_protocol_negotiation'))[0]);
    expect(typesOf(client)).toMatch(/^vRS+KZ$/);
  });

  test('is negotiated once, before the password is asked for, also where the login waits', async () => {
    const { bench, client } = attempt(m.startup({ user: 'app', database: 'app' }, (3 << 16) | 3), {
      auth_type: 'plain',
    });
    expect(typesOf(client)).toBe('vR');
    client.send(m.password('app-secret'));
    await bench.settle();
    expect(typesOf(client)).toMatch(/^RS+KZ$/);
  });

  test('is negotiated also with whoever is then refused', () => {
    expect(typesOf(attempt(m.startup({ database: 'app' }, (3 << 16) | 3)).client)).toBe('vE');
  });
});

describe('negotiation', () => {
  test('SSLRequest and GSSENCRequest are answered N, each with one byte, in any order; then the startup', () => {
    for (const order of [['ssl', 'gssenc'], ['gssenc', 'ssl'], ['ssl'], ['gssenc']] as const) {
      const bench = sessionBench();
      const client = bench.connect();
      for (const what of order) {
        client.sendNegotiation(what);
        bench.run();
      }
      expect(client.bytes).toEqual(order.map(() => 'N'));
      client.logIn();
      expect(client.query('SELECT a')).toContain('Z(I)');
    }
  });

  test.each(['ssl', 'gssenc'] as const)('%s twice is refused', (what) => {
    const bench = sessionBench();
    const client = bench.connect();
    client.sendNegotiation(what);
    bench.run();
    expect(client.exchange(m[what]())).toBe('E(08P01)');
    expect(client.isEnded).toBe(true);
  });

  test.each(['ssl', 'gssenc'] as const)(
    'bytes behind %s that was not answered end the connection (CVE-2021-3935)',
    (what) => {
      const { bench, client } = attempt(Buffer.concat([m[what](), startup('user', 'app')]));
      expect(client.takeSummary()).toBe('E(08P01)');
      expect(client.isEnded).toBe(true);
      expect(bench.postgres.streams.size).toBe(0);
    },
  );

  test('also a single byte behind it', () => {
    expect(attempt(Buffer.concat([m.ssl(), raw(0)])).client.takeSummary()).toBe('E(08P01)');
  });
});

const asked = (settings: BenchSettings, setup: BenchSetup = {}) => {
  const bench = sessionBench(settings, setup);
  const client = bench.connect();
  client.sendStartup();
  bench.run();
  return { bench, client };
};

describe('passwords', () => {
  test('the right one, in one packet with the next query', async () => {
    const { bench, client } = asked({ auth_type: 'plain' });
    expect(client.takeSummary()).toBe('R');
    client.send(m.password('app-secret'), m.query('SELECT a'));
    await bench.settle();
    expect(client.takeSummary()).toMatch(/^R S.* Z\(I\) T D\(a\) C\(SELECT 1\) Z\(I\)$/);
  });

  test('sent together with the startup packet, before it was asked for', async () => {
    const bench = sessionBench({ auth_type: 'plain' });
    const client = bench.connect();
    client.send(startup('user', 'app'), m.password('app-secret'), m.query('SELECT a'));
    await bench.settle();
    expect(client.takeSummary()).toMatch(/^R×?2? ?S?.*Z\(I\) T D\(a\) C\(SELECT 1\) Z\(I\)$/);
  });

  test.each([
    ['a wrong one', m.password('wrong'), '28P01'],
    ['an empty one', m.password(''), '28P01'],
    ['one without its NUL', packetOf('p', Buffer.from('app-secret')), '28P01'],
    ['one with a NUL inside', packetOf('p', Buffer.from('app\0secret\0')), '28P01'],
    ['a query', m.query('SELECT 1'), '08P01'],
    ['Terminate', m.terminate(), '08P01'],
    ['a second startup packet', startup('user', 'postgres'), '08P01'],
    ['a length of 3', raw(0x70, 0, 0, 0, 3), '08P01'],
    ['a length of 1 GB', raw(0x70, 0x3f, 255, 255, 255), '08P01'],
  ])('%s is refused, and nothing reaches a server', async (_what, bytes, code) => {
    const { bench, client } = asked({ auth_type: 'plain' });
    client.take();
    client.send(bytes);
    await bench.settle();
    expect(client.takeSummary()).toBe(`E(${code})`);
    expect(client.isEnded).toBe(true);
    expect(bench.postgres.streams.size).toBe(0);
  });

  test('an unknown user, database or secret all look the same before a password is proven', async () => {
    const answers: string[] = [];
    for (const login of [{ user: 'nobody' }, { user: 'app', database: 'none' }, { user: 'app' }, { user: 'empty' }]) {
      const bench = sessionBench({ auth_type: 'plain' }, { secrets: { app: 'app-secret', empty: '' } });
      const client = bench.connect();
      client.sendStartup(login);
      await bench.settle();
      client.send(m.password('wrong'));
      await bench.settle();
      answers.push(Buffer.concat(client.chunks).toString('hex'));
    }
    expect(new Set(answers).size).toBe(1);
    const messages = decode(Buffer.from(answers[0]!, 'hex'));
    expect(errorFields(messages.at(-1)!).get('C')).toBe('28P01');
  });

  test('cut at every byte', async () => {
    const bytes = m.password('app-secret');
    for (let cut = 1; cut < bytes.length; cut++) {
      const bench = sessionBench({ auth_type: 'plain' }, { manual: true });
      const client = bench.connect();
      client.sendStartup();
      bench.run();
      client.exchange(bytes.subarray(0, cut));
      client.send(bytes.subarray(cut));
      await bench.settle();
      expect(client.takeSummary().slice(-4)).toBe('Z(I)');
      bench.finish();
    }
  });

  test('the client leaves while its password is checked: nothing is left of it', async () => {
    const { bench, client } = asked({ auth_type: 'plain' });
    client.send(m.password('wrong'));
    client.stream.reset();
    await bench.settle();
    expect(bench.registry.sockets).toBe(0);
  });

  test('auth_type any needs a forced user', () => {
    expect(attempt(startup('user', 'app'), { auth_type: 'any' }).client.takeSummary()).toBe('E(28000)');
    const forced = { databases: { app: 'host=10.0.0.1 user=forced' } };
    const { bench, client } = attempt(startup('user', 'whoever', 'database', 'app'), { auth_type: 'any' }, forced);
    expect(client.takeSummary()).toContain('Z(I)');
    expect(bench.server().startup.get('user')).toBe('forced');
  });
});

describe('after the login', () => {
  test.each([
    ['a second startup packet', startup('user', 'postgres', 'database', 'app')],
    ['an SSLRequest', m.ssl()],
    ['a cancel request', m.cancel(Buffer.alloc(8))],
    ['a password', m.password('x')],
    ['an unknown type', raw(0x7a, 0, 0, 0, 4)],
    ['type 255', raw(255, 0, 0, 0, 4)],
    ['a length of 3', raw(0x51, 0, 0, 0, 3)],
    ['a negative length', raw(0x51, 255, 255, 255, 255)],
    ['a Flush with a body', raw(0x48, 0, 0, 0, 5, 0)],
  ])('%s ends the session with 08P01, and the server serves the next client', (_what, bytes) => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('protocol_violation');
    const alice = bench.client();
    const bob = bench.client();
    alice.query('BEGIN');
    alice.query('INSERT lost');
    expect(alice.exchange(bytes)).toMatch(/^E\((08P01|54000)\)$/);
    expect(alice.isEnded).toBe(true);
    expect(bob.query('TOKENS')).toBe('T C(SELECT 0) Z(I)');
    expect(bob.pid()).toBe(bench.server(0).pid);
    expect(bench.postgres.sessions).toHaveLength(1);
  });

  test('a bad message behind good ones: these are answered first', () => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('protocol_violation');
    const alice = bench.client();
    expect(alice.exchange(m.query('SELECT a'), m.query('INSERT kept'), raw(0x7a, 0, 0, 0, 4))).toBe(
      'T D(a) C(SELECT 1) Z(I) C(INSERT 0 1) Z(I) E(08P01)',
    );
    expect(bench.postgres.rows).toEqual(['kept']);
  });
});

describe('connections that say nothing', () => {
  test.each(['vanish', 'crash'] as const)('and %s are no error', (how) => {
    const bench = sessionBench();
    const probe = bench.connect();
    probe[how]();
    expect(bench.registry.sockets).toBe(0);
    expect(bench.log.at('warn')).toEqual([]);
    expect(bench.log.errors).toEqual([]);
  });

  test('a client that leaves while it waits for the first server', () => {
    const bench = sessionBench();
    bench.postgres.onStartup = () => {};
    const alice = bench.connect();
    alice.sendStartup();
    bench.run();
    expect(bench.pool().learned.waiting.size).toBe(1);
    alice.vanish();
    expect(bench.pool().learned.waiting.size).toBe(0);
    bench.server().login();
    bench.run();
    expect(bench.pool().servers.idle.size).toBe(1);
  });
});

function packetOf(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
}
