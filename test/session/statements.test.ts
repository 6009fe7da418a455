/**
 * Prepared statements where servers are shared: what clients see is what a server of their own would say, whichever server
 * they get, and whatever others have prepared under the same names.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s } from '../support/wire.ts';

/** Alice, whom the test is about, and Bob and Carol, who keep servers from her by being in a transaction. */
function scene(settings: BenchSettings = {}) {
  const bench = sessionBench({ pool_size: 2, ...settings });
  const [alice, bob, carol] = [bench.client(), bench.client(), bench.client()];
  // Both servers are open; the one that was free last is first.
  bob.query('BEGIN');
  carol.query('BEGIN');
  bob.query('COMMIT');
  carol.query('COMMIT');
  return { bench, alice, bob, carol };
}

/** Lets the one who does `work` have the server with `index` alone: the other one is in a transaction of a blocker's. */
function onServer(bench: SessionBench, blockers: readonly SessionClient[], index: number, work: () => void): void {
  const wanted = bench.server(index).pid;
  for (const blocker of blockers) blocker.query('BEGIN');
  for (const blocker of blockers) if (blocker.pid() === wanted) blocker.query('COMMIT');
  work();
  for (const blocker of blockers) blocker.query('COMMIT');
}

const bound = (statement: string) => [m.bind({ statement }), m.execute(), m.sync()];

/** Parses sent to the server with `index`, as texts. */
function parsesOn(bench: SessionBench, index: number): string[] {
  return bench
    .server(index)
    .received.filter(({ type }) => type === 'P')
    .map(({ body }) => body.toString('latin1').split('\0')[1] ?? '');
}

describe('a named statement', () => {
  test('is prepared on whichever server its client gets, once on each', () => {
    const { bench, alice, bob, carol } = scene();
    expect(alice.exchange(m.parse('SELECT a', 's'), m.describe('S', 's'), m.sync())).toBe('1 t T Z(I)');
    const pids = new Set<number>();
    for (let round = 0; round < 3; round++) {
      for (const index of [0, 1]) {
        onServer(bench, [bob, carol], index, () => {
          expect(alice.exchange(...bound('s'))).toBe('2 D(a) C(SELECT 1) Z(I)');
          pids.add(alice.pid());
        });
      }
    }
    expect(pids.size).toBe(2);
    expect([parsesOn(bench, 0), parsesOn(bench, 1)]).toEqual([['SELECT a'], ['SELECT a']]);
  });

  test('is shared by clients: its Parse is answered without asking, in its place', () => {
    const { bench, alice, bob } = scene({ pool_size: 1 });
    expect(alice.exchange(m.parse('SELECT a', 'mine'), m.sync())).toBe('1 Z(I)');
    const statement = m.parse('SELECT a', 'yours');
    const before = parsesOn(bench, 0).length;
    expect(bob.exchange(m.batch('SELECT b'), statement, ...bound('yours'))).toBe(
      '1 2 D(b) C(SELECT 1) 1 2 D(a) C(SELECT 1) Z(I)',
    );
    expect(parsesOn(bench, 0).slice(before)).toEqual(['SELECT b']);
  });

  test('with the same name is another statement for another client', () => {
    const { alice, bob } = scene({ pool_size: 1 });
    alice.exchange(m.parse('SELECT a', 's'), m.sync());
    bob.exchange(m.parse('SELECT b', 's'), m.sync());
    expect(alice.exchange(...bound('s'))).toBe('2 D(a) C(SELECT 1) Z(I)');
    expect(bob.exchange(...bound('s'))).toBe('2 D(b) C(SELECT 1) Z(I)');
  });

  test('that others have prepared needs no server to be prepared: who does both in turn does not wait for ever', () => {
    const { alice, bob } = scene({ pool_size: 1 });
    alice.exchange(m.parse('SELECT a', 's'), m.sync());
    alice.query('BEGIN');
    expect(bob.exchange(m.parse('SELECT a', 's'), m.sync())).toBe('1 Z(I)');
    expect(bob.exchange(m.close('S', 's'), m.sync(), m.parse('SELECT a', 's'), m.sync())).toBe('3 Z(I) 1 Z(I)');
    expect(bob.exchange(...bound('s'))).toBe('');
    alice.query('COMMIT');
    expect(bob.takeSummary()).toBe('2 D(a) C(SELECT 1) Z(I)');
  });

  test('in use is 42P05, unknown is 26000, and the session goes on', () => {
    const { alice } = scene();
    expect(alice.exchange(...bound('none'))).toBe('E(26000) Z(I)');
    expect(alice.exchange(m.describe('S', 'none'), m.flush())).toBe('E(26000)');
    expect(alice.exchange(m.parse('SELECT a', 'x'), m.sync())).toBe('Z(I)');
    alice.exchange(m.parse('SELECT a', 's'), m.sync());
    expect(alice.exchange(m.parse('SELECT b', 's'), m.sync())).toBe('E(42P05) Z(I)');
    // A syntax error wins, as it does directly.
    expect(alice.exchange(m.parse('nonsense', 's'), m.sync())).toBe('E(42601) Z(I)');
    expect(alice.exchange(...bound('s'))).toBe('2 D(a) C(SELECT 1) Z(I)');
  });

  test.each([
    ['an unknown name', m.bind({ statement: 'none' })],
    ['an unknown name in Describe', m.describe('S', 'none')],
    ['a name in use', m.parse('SELECT b', 's')],
    ['one statement too many', m.parse('SELECT b', 't')],
  ])('%s fails its transaction on the server, too', (_what, message) => {
    for (const isPipelined of [true, false]) {
      const { alice, bob } = scene({ max_client_prepared_statements: 1 });
      alice.exchange(m.parse('SELECT a', 's'), m.sync());
      const steps = [m.query('BEGIN'), m.query('INSERT lost'), message, m.sync(), m.query('COMMIT')];
      if (isPipelined) alice.exchange(...steps);
      else for (const step of steps) alice.exchange(step);
      expect(bob.query('TOKENS')).toBe('T C(SELECT 0) Z(I)');
      expect(alice.query('SELECT c')).toBe('T D(c) C(SELECT 1) Z(I)');
    }
  });

  test('gives way when a server has too many, and comes back', () => {
    const { bench, alice } = scene({ pool_size: 1, max_prepared_statements: 2 });
    for (const name of ['a', 'b', 'c']) {
      expect(alice.exchange(m.parse(`SELECT ${name}`, name), m.sync())).toBe('1 Z(I)');
    }
    for (const name of ['a', 'b', 'c', 'c', 'a']) {
      expect(alice.exchange(...bound(name))).toBe(`2 D(${name}) C(SELECT 1) Z(I)`);
    }
    const [server] = bench.pool().servers.idle;
    expect(server!.prepared.size).toBe(2);
  });

  test.each([1, 64 * 1024, 300_000])('may have a name and a text of %i bytes and more', (length) => {
    const { bench, alice, bob, carol } = scene();
    const name = 'n'.repeat(length);
    const text = 't'.repeat(length);
    expect(alice.exchange(m.parse(`SELECT ${text}`, name), m.sync())).toBe('1 Z(I)');
    for (const index of [0, 1]) {
      onServer(bench, [bob, carol], index, () => {
        expect(alice.exchange(...bound(name))).toBe(`2 D(${text.slice(0, 24)}) C(SELECT 1) Z(I)`);
      });
    }
  });

  test('may be bound with values of any size: they are not gathered', () => {
    const { alice } = scene({ pool_size: 1 });
    alice.exchange(m.parse('SELECT a', 's'), m.sync());
    const values = ['x'.repeat(1_000_000), null, ''];
    expect(alice.exchange(m.bind({ statement: 's', values }), m.execute(), m.sync())).toBe('2 D(a) C(SELECT 1) Z(I)');
  });

  test('is forgotten by all when nobody has it any more', () => {
    const { bench, alice } = scene({ pool_size: 1 });
    alice.exchange(m.parse('SELECT a', 's'), m.parse('SELECT b', 't'), m.sync());
    alice.leave();
    bench.pool().closeServers('unneeded');
    bench.environment.run();
    bench.expectServers('unneeded');
    expect(bench.statements.size).toBe(0);
  });
});

describe('statements are deallocated', () => {
  test.each(['DEALLOCATE ALL', 'DISCARD ALL'])('by %s, ordered against what is sent before and after', (sql) => {
    const { alice } = scene({ pool_size: 1 });
    alice.exchange(m.parse('SELECT a', 's'), m.sync());
    const all = alice.exchange(...bound('s'), m.query(sql), m.parse('SELECT b', 's'), ...bound('s'));
    expect(all).toBe(`2 D(a) C(SELECT 1) Z(I) C(${sql}) Z(I) 1 2 D(b) C(SELECT 1) Z(I)`);
    expect(alice.exchange(m.query(sql), ...bound('s'))).toBe(`C(${sql}) Z(I) E(26000) Z(I)`);
  });

  test('in the extended protocol as well', () => {
    const { alice } = scene({ pool_size: 1 });
    alice.exchange(m.parse('SELECT a', 's'), m.sync());
    expect(alice.exchange(m.batch('DEALLOCATE ALL'), m.sync(), ...bound('s'))).toBe(
      '1 2 C(DEALLOCATE ALL) Z(I) E(26000) Z(I)',
    );
  });

  test('of others do not go with them', () => {
    const { alice, bob } = scene({ pool_size: 1 });
    alice.exchange(m.parse('SELECT a', 's'), m.sync());
    expect(bob.query('DEALLOCATE ALL')).toBe('C(DEALLOCATE ALL) Z(I)');
    expect(alice.exchange(...bound('s'))).toBe('2 D(a) C(SELECT 1) Z(I)');
  });

  test('by SQL and name, though the server does not know the name', () => {
    const { alice, bob } = scene({ pool_size: 1 });
    alice.exchange(m.parse('SELECT a', 's'), m.sync());
    bob.exchange(m.parse('SELECT a', 's'), m.sync());
    expect(alice.exchange(m.query('deallocate prepare "s";'), ...bound('s'))).toBe('C(DEALLOCATE) Z(I) E(26000) Z(I)');
    expect(alice.query('DEALLOCATE s')).toBe('E(26000) Z(I)');
    expect(bob.exchange(...bound('s'))).toBe('2 D(a) C(SELECT 1) Z(I)');
    alice.exchange(m.parse('SELECT a', 's'), m.sync());
    expect(alice.exchange(m.batch('DEALLOCATE s'), m.sync())).toBe('1 2 C(DEALLOCATE) Z(I)');
    expect(alice.exchange(...bound('s'))).toBe('E(26000) Z(I)');
    bob.query('BEGIN');
    expect(bob.query('DEALLOCATE s')).toBe('C(DEALLOCATE) Z(T)');
    expect(bob.query('COMMIT')).toBe('C(COMMIT) Z(I)');
  });
});

describe('the unnamed statement', () => {
  test('follows its client from server to server', () => {
    const { bench, alice, bob, carol } = scene();
    alice.exchange(m.parse('SELECT a'), m.sync());
    for (const index of [0, 1, 0, 1]) {
      onServer(bench, [bob, carol], index, () => {
        expect(alice.exchange(m.describe('S'), ...bound(''))).toBe('t T 2 D(a) C(SELECT 1) Z(I)');
      });
    }
  });

  test('of another client is never run', () => {
    const { alice, bob } = scene({ pool_size: 1 });
    bob.exchange(m.parse('SELECT secret'), m.sync());
    expect(alice.exchange(...bound(''))).toBe('E(26000) Z(I)');
    bob.exchange(m.parse('SELECT secret'), m.sync());
    expect(alice.exchange(m.bind({ statement: 'none' }), ...bound(''), ...bound(''))).toBe(
      'E(26000) Z(I) E(26000) Z(I)',
    );
    bob.exchange(m.parse('SELECT secret'), m.sync());
    expect(alice.exchange(m.close('S'), ...bound(''))).toBe('3 E(26000) Z(I)');
  });

  test.each([
    ['a simple Query', [m.query('SELECT x')]],
    ['a Close', [m.close('S'), m.sync()]],
    ['another Parse that fails', [m.parse('nonsense'), m.sync()]],
  ])('goes with %s', (_what, messages) => {
    const { bench, alice, bob, carol } = scene();
    alice.exchange(m.parse('SELECT a'), m.sync());
    alice.exchange(...messages);
    for (const index of [0, 1]) {
      onServer(bench, [bob, carol], index, () => expect(alice.exchange(...bound(''))).toBe('E(26000) Z(I)'));
    }
  });

  test.each([
    ['another error', [m.bind({ statement: 'none' }), m.sync()]],
    ['another Parse that is skipped', [m.bind({ statement: 'none' }), m.parse('SELECT b'), m.sync()]],
    [
      'DISCARD in the extended protocol',
      [m.parse('DISCARD ALL', 'd'), m.bind({ statement: 'd' }), m.execute(), m.sync()],
    ],
  ])('stays after %s', (_what, messages) => {
    const { bench, alice, bob, carol } = scene();
    alice.exchange(m.parse('SELECT a'), m.sync());
    alice.exchange(...messages);
    for (const index of [0, 1]) {
      onServer(bench, [bob, carol], index, () => {
        expect(alice.exchange(...bound(''))).toBe('2 D(a) C(SELECT 1) Z(I)');
      });
    }
  });

  test('is not carried along when it is longer than 16 KB: then it does not exist elsewhere', () => {
    const { bench, alice, bob, carol } = scene();
    const results = new Set<string>();
    alice.exchange(m.parse(`SELECT ${'a'.repeat(20_000)}`), m.sync());
    for (const index of [0, 1]) onServer(bench, [bob, carol], index, () => results.add(alice.exchange(...bound(''))));
    expect(results).toContain('E(26000) Z(I)');
  });
});

const text = (value: string): Buffer => Buffer.from(`${value}\0`);
const broken = (type: string, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
};

describe('malformed messages about statements', () => {
  test.each([
    ['an empty Parse', broken('P')],
    ['a Parse without a terminator', broken('P', Buffer.from('name'))],
    ['a Parse without a text', broken('P', text('name'))],
    ['a Parse without a number of types', broken('P', text('name'), text('SELECT a'))],
    ['a Parse with fewer types than it says', broken('P', text('name'), text('SELECT a'), Buffer.of(0, 9, 0, 0, 0, 0))],
    ['a Parse with bytes behind it', broken('P', text('name'), text('SELECT a'), Buffer.of(0, 0, 7))],
    ['an empty Bind', broken('B')],
    ['a Bind without a name', broken('B', text('portal'), Buffer.from('name'))],
    ['a Describe of nothing', broken('D')],
    ['a Describe without a terminator', broken('D', Buffer.from('Sname'))],
    ['a Close of a strange kind', broken('C', Buffer.from('Xname\0'))],
    ['a Close without a terminator', broken('C', Buffer.from('Sname'))],
  ])('%s goes to the server as it is, and leaves nothing behind', (_what, message) => {
    const { bench, alice, bob } = scene({ pool_size: 1 });
    const postgres = bench.server().takeOver();
    const seen = postgres.received.length;
    alice.exchange(message, m.sync());
    expect(postgres.received.slice(seen).map(({ type, body }) => [type, body.toString('latin1')])).toEqual([
      [message.toString('latin1', 0, 1), message.toString('latin1', 5)],
      ['S', ''],
    ]);
    postgres.send(s.error({ code: '08P01' }), s.ready('I'));
    bench.run();
    expect(alice.takeSummary()).toBe('E(08P01) Z(I)');
    expect(bench.statements.size).toBe(0);
    expect(bob.isEnded).toBe(false);
  });
});

const NAMES = ['', 's', 't'];
const BEGIN = 'BEGIN';
const TEXTS = ['SELECT a', 'SELECT b', 'INSERT x', 'FAIL', 'nonsense', BEGIN, 'COMMIT', 'DEALLOCATE ALL', 'ROWS 2 r'];
const name = fc.constantFrom(...NAMES);
const sql = fc.constantFrom(...TEXTS);
const message = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('parse' as const), name, sql }) },
  { weight: 5, arbitrary: fc.record({ type: fc.constant('run' as const), name }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('describe' as const), name }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('close' as const), name }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('sync' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('flush' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('query' as const), sql: fc.oneof(sql, fc.constant('DEALLOCATE s')) }),
  },
);
type Message = typeof message extends fc.Arbitrary<infer T> ? T : never;

function bytesOf(item: Message): Buffer {
  switch (item.type) {
    case 'parse':
      return m.parse(item.sql, item.name);
    case 'run':
      return Buffer.concat([m.bind({ statement: item.name }), m.execute()]);
    case 'describe':
      return m.describe('S', item.name);
    case 'close':
      return m.close('S', item.name);
    case 'sync':
      return m.sync();
    case 'flush':
      return m.flush();
    case 'query':
      return m.query(item.sql);
  }
}

function withoutBegin(item: Message): Message {
  return 'sql' in item && item.sql === BEGIN ? { ...item, sql: 'COMMIT' } : item;
}

function withoutDescribe(item: Message): Message {
  return item.type === 'describe' ? { type: 'flush' } : item;
}

/** Packets of messages; before each, somebody takes a server away from Alice, or gives one back, or does not. */
const packets = fc.array(fc.record({ messages: fc.array(message, { minLength: 1, maxLength: 7 }), move: fc.nat(3) }), {
  minLength: 1,
  maxLength: 8,
});

/**
 * A transaction that has failed takes in no statement that is not on its server, so that a Describe of one without rows fails
 * there, which would not directly: the one difference. So there is no Describe where there are transactions, and no
 * transaction where statements give way.
 */
test.each([
  ['few statements on a server, no transactions', { min: 1, max: 3 }, false],
  ['transactions', { min: 200, max: 200 }, true],
])(
  'by chance: what a client sees is what a server of its own would say (%s)',
  (_what, limits, hasTransactions) => {
    const backends = new Set<number>();
    fc.assert(
      fc.property(packets, fc.integer(limits), (drawn, perServer) => {
        const adapted = hasTransactions ? withoutDescribe : withoutBegin;
        const list = drawn.map((packet) => ({ ...packet, messages: packet.messages.map(adapted) }));
        const direct = sessionBench({ pool_mode: 'session', pool_size: 1 }, { manual: true });
        const bench = sessionBench({ pool_size: 2, max_prepared_statements: perServer }, { manual: true });
        const [expected, alice] = [direct.client(), bench.client()];
        const noise = [bench.client(), bench.client()];
        for (const client of noise) client.query('BEGIN');
        for (const client of noise) client.query('COMMIT');
        for (const { messages, move } of list) {
          // Whoever makes noise prepares under the same names, and keeps a server for a while.
          const other = noise[move % 2]!;
          other.exchange(
            m.parse(`SELECT ${move}`, 's'),
            m.parse(`SELECT n${move}`),
            m.sync(),
            m.close('S', 's'),
            m.sync(),
          );
          if (move > 1) other.query('BEGIN');
          const packet = Buffer.concat([...messages.map(bytesOf), m.sync()]);
          expect(alice.exchange(packet)).toBe(expected.exchange(packet));
          const isFree = bench.pool().servers.linked.size === (move > 1 ? 1 : 0);
          if (isFree) backends.add(alice.pid() * 10 + (expected.pid() > 0 ? 0 : 1));
          other.query('COMMIT');
        }
        for (const client of [expected, alice]) client.exchange(m.sync(), m.query('COMMIT'));
        direct.finish();
        bench.finish();
      }),
      { numRuns: 150, seed: 20_261_124 },
    );
    expect(backends.size).toBeGreaterThan(1);
  },
  60_000,
);
