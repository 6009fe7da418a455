/**
 * "cached plan must not change result type": the one error after which the pooler sends something again, and only where
 * nothing of it can have run.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s, strings } from '../support/wire.ts';

/** Alice has prepared `s` on the one server, and Bob has changed what it returns. */
function scene(settings: BenchSettings = {}) {
  const bench = sessionBench({ pool_size: 1, ...settings });
  const [alice, bob] = [bench.client(), bench.client()];
  alice.exchange(m.parse('STAR a', 's'), m.parse('INSERT i', 'i'), m.sync());
  bob.query('ALTER');
  const seen = bench.server().received.length;
  /** Types of the messages that the server has got since. */
  const sent = (): string =>
    bench
      .server()
      .received.slice(seen)
      .map(({ type }) => type)
      .join('');
  return { bench, alice, bob, sent };
}

const bind = (statement = 's', portal = ''): Buffer => m.bind({ statement, portal });
const run = [bind(), m.describe('P'), m.execute(), m.sync()];

describe('a batch that begins with a Bind whose plan has changed', () => {
  test('is prepared and sent again, and its client hears no error', () => {
    const { alice, sent } = scene();
    expect(alice.exchange(...run)).toBe('2 T D(a) C(SELECT 1) Z(I)');
    expect(sent()).toBe('BDESCPBDES');
    expect(alice.exchange(...run)).toBe('2 T D(a) C(SELECT 1) Z(I)');
  });

  test('is, too, if others have prepared it and its own Parse is answered by the pooler', () => {
    const { bob, sent } = scene();
    expect(bob.exchange(m.parse('STAR a', 'mine'), bind('mine'), ...run.slice(1))).toBe('1 2 T D(a) C(SELECT 1) Z(I)');
    expect(sent()).toBe('BDESCPBDES');
  });

  test('is, with everything else in it', () => {
    const { alice, bench, sent } = scene();
    const more = [bind('i', 'p'), m.execute('p'), m.flush(), bind(), m.execute()];
    expect(alice.exchange(...run.slice(0, 3), ...more, m.sync())).toBe(
      '2 T D(a) C(SELECT 1) 2 C(INSERT 0 1) 2 D(a) C(SELECT 1) Z(I)',
    );
    expect(sent()).toBe('BDEBEHBESCPBDEBEHBES');
    expect(bench.postgres.rows).toEqual(['i']);
  });

  test('does not release its server to others in between, and what follows is in order', () => {
    const { alice, bench } = scene();
    const postgres = bench.server();
    postgres.holdReplies();
    alice.send(...run);
    bench.run();
    postgres.releaseReplies();
    expect(alice.exchange(m.query('SELECT z'))).toBe('2 T D(a) C(SELECT 1) Z(I) T D(z) C(SELECT 1) Z(I)');
  });

  test('is sent again once: if that fails alike, the client hears it', () => {
    const { alice, bench } = scene();
    const postgres = bench.server().takeOver();
    const changed = s.error({ code: '0A000', message: 'cached plan', routine: 'RevalidateCachedQuery' });
    alice.send(...run);
    bench.run();
    postgres.send(changed, s.ready('I'));
    bench.run();
    expect(alice.takeSummary()).toBe('');
    postgres.send(s.closeComplete(), s.parseComplete(), changed, s.ready('I'));
    bench.run();
    expect(alice.takeSummary()).toBe('E(0A000) Z(I)');
    expect(postgres.received.filter(({ type }) => type === 'S').length).toBe(3);
  });

  test('whose client leaves meanwhile is nobody’s: its server serves the next one', () => {
    const { alice, bench, bob } = scene();
    const postgres = bench.server();
    alice.send(...run);
    bench.run();
    postgres.holdReplies();
    bob.query('ALTER');
    alice.send(...run);
    bench.run();
    alice.vanish();
    postgres.releaseReplies();
    bench.expectClients('eof');
    bench.run();
    expect(bob.query('SELECT b')).toContain('D(b) C(SELECT 1) Z(I)');
  });
});

const REFUSED: readonly (readonly [string, readonly Buffer[], string])[] = [
  ['in a transaction', [m.query('BEGIN'), ...run], 'C(BEGIN) Z(T) E(0A000) Z(E)'],
  ['without a Describe', [bind(), m.execute(), m.sync()], 'E(0A000) Z(I)'],
  ['with a Describe behind the Execute', [bind(), m.execute(), m.describe('P'), m.sync()], 'E(0A000) Z(I)'],
  [
    'behind something that has run',
    [bind('i'), m.describe('P'), m.execute(), ...run],
    '2 n C(INSERT 0 1) E(0A000) Z(I)',
  ],
  ['behind something that was bound', [bind('i', 'p'), ...run], '2 E(0A000) Z(I)'],
  ['at a Describe', [m.describe('S', 's'), ...run], 'E(0A000) Z(I)'],
  ['before another batch', [...run, m.query('SELECT z')], 'E(0A000) Z(I) T D(z) C(SELECT 1) Z(I)'],
  ['before a Parse', [...run.slice(0, 3), m.parse('SELECT x', 'x'), m.sync()], 'E(0A000) Z(I)'],
  ['before a statement without a name', [...run.slice(0, 3), bind(''), m.sync()], 'E(0A000) Z(I)'],
  ['before its end', [...run.slice(0, 3), m.flush()], 'E(0A000)'],
  [
    'with formats for its columns',
    [
      // The body: portal, statement, no formats, no values, two formats for results.
      Buffer.concat([
        Buffer.from([0x42, 0, 0, 0, 17]),
        Buffer.from('\0s\0'),
        Buffer.from([0, 0, 0, 0, 0, 2, 0, 0, 0, 0]),
      ]),
      ...run.slice(1),
    ],
    'E(0A000) Z(I)',
  ],
  ['in more than 16 KB', [m.bind({ statement: 's', values: ['v'.repeat(16_384)] }), ...run.slice(1)], 'E(0A000) Z(I)'],
];

describe('such a batch is not sent again', () => {
  test.each(REFUSED)('%s, and the next use succeeds', (what, messages, expected) => {
    const { alice, bench } = scene();
    expect(alice.exchange(...messages), what).toBe(expected);
    const once = bench.server().received.length;
    expect(alice.exchange(m.sync(), m.query('COMMIT'))).toMatch(/Z\(I\)$/);
    expect(bench.server().received.length - once).toBeLessThanOrEqual(2);
    expect(alice.exchange(...run)).toBe('2 T D(a) C(SELECT 1) Z(I)');
    expect(bench.postgres.rows).toEqual([]);
  });

  test('in a transaction that was there before', () => {
    const { alice, sent } = scene();
    alice.query('BEGIN');
    expect(alice.exchange(...run)).toBe('E(0A000) Z(E)');
    expect(sent()).toBe('QBDES');
    expect(alice.query('ROLLBACK')).toBe('C(ROLLBACK) Z(I)');
  });

  test('in session mode', () => {
    const { alice, sent } = scene({ pool_mode: 'session', pool_size: 2 });
    expect(alice.exchange(...run)).toBe('E(0A000) Z(I)');
    expect(sent()).toBe('BDES');
  });
});

type Part = 'star' | 'insert' | 'describe' | 'blind' | 'flush';
const part = fc.constantFrom<Part>('star', 'insert', 'describe', 'blind', 'flush');
const batch = fc.record({ parts: fc.array(part, { minLength: 1, maxLength: 4 }), inBlock: fc.boolean() });
const packet = fc.record({
  batches: fc.array(batch, { minLength: 1, maxLength: 3 }),
  altered: fc.boolean(),
  holds: fc.boolean(),
});

/** The first thing that runs is a STAR which is described. */
function mayRepeat(parts: readonly Part[]): boolean {
  return /^(?:flush )*(?:star|describe)/.test(parts.join(' '));
}

function countBinds(bench: SessionBench): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { received } of bench.postgres.sessions) {
    for (const { type, body } of received) {
      if (type !== 'B') continue;
      const value = /v\d+/.exec(body.toString('latin1'))?.[0];
      if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1);
    }
  }
  return counts;
}

class Writer {
  readonly repeatable = new Set<string>();
  readonly inserted: string[] = [];
  #values = 0;

  /** Each Bind carries a value of its own. */
  batchOf(parts: readonly Part[], repeatable: boolean): Buffer {
    const bytes = parts.map((name) => {
      if (name === 'flush') return m.flush();
      const value = `v${this.#values++}`;
      if (repeatable) this.repeatable.add(value);
      const values = [value];
      if (name === 'insert') return Buffer.concat([m.bind({ statement: 'i', values }), m.execute()]);
      const described = name === 'blind' ? [] : [m.describe('P')];
      const executed = name === 'describe' ? [] : [m.execute()];
      return Buffer.concat([m.bind({ statement: 's', values }), ...described, ...executed]);
    });
    return Buffer.concat([...bytes, m.sync()]);
  }
}

test('by chance: nothing else is ever sent twice, and nothing runs twice', () => {
  let repeated = 0;
  fc.assert(
    fc.property(fc.array(packet, { minLength: 1, maxLength: 6 }), (packets) => {
      const bench = sessionBench({ pool_size: 1 }, { manual: true });
      const [alice, bob] = [bench.client(), bench.client()];
      alice.exchange(m.parse('STAR a', 's'), m.parse('INSERT i', 'i'), m.sync());
      const writer = new Writer();
      let expectedRows = 0;
      for (const { batches, altered, holds } of packets) {
        if (altered) bob.query('ALTER');
        const bytes = batches.flatMap(({ parts, inBlock }, at) => {
          const isLast = at === batches.length - 1;
          const first = m.query(inBlock ? 'BEGIN' : 'SELECT x');
          const repeatable = !inBlock && isLast && mayRepeat(parts);
          return [
            ...(inBlock ? [first] : []),
            writer.batchOf(parts, repeatable),
            ...(inBlock ? [m.query('COMMIT')] : []),
          ];
        });
        expectedRows += insertedBy(alice, bench, Buffer.concat(bytes), holds);
      }
      for (const [value, count] of countBinds(bench)) {
        if (count > 1) repeated++;
        expect(count, value).toBeLessThanOrEqual(writer.repeatable.has(value) ? 2 : 1);
      }
      expect(bench.postgres.rows.length).toBe(expectedRows);
      bench.finish();
    }),
    { numRuns: 300, seed: 20_261_124 },
  );
  expect(repeated).toBeGreaterThan(50);
});

/** Sends it, and says how many rows the client has been told to be there. */
function insertedBy(client: SessionClient, bench: SessionBench, bytes: Buffer, holds: boolean): number {
  if (holds) bench.server().holdReplies();
  client.send(bytes);
  bench.run();
  bench.server().releaseReplies();
  bench.run();
  let [rows, pending] = [0, 0];
  let isBlock = false;
  for (const message of client.take()) {
    if (message.type === 'C') {
      const tag = strings(message.body)[0];
      if (tag === 'BEGIN') isBlock = true;
      if (tag === 'INSERT 0 1') pending++;
      if (tag === 'COMMIT' || tag === 'ROLLBACK') isBlock = false;
      if (tag === 'ROLLBACK') pending = 0;
    }
    if (message.type === 'E') pending = 0;
    if (message.type !== 'Z' || isBlock) continue;
    rows += pending;
    pending = 0;
  }
  return rows;
}
