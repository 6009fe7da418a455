/** What clients may send, as pieces that fit together in any order: for the ledger's property tests. */
import * as fc from 'fast-check';
import { client as m } from '../../support/wire.ts';

export type Move = readonly Buffer[];

const simple: fc.Arbitrary<Move> = fc
  .constantFrom(
    'SELECT a',
    'FAIL',
    'BEGIN',
    'COMMIT',
    'ROLLBACK',
    '',
    'ROWS 3 x',
    'INSERT x; SELECT a',
    'COPY OUT 2',
    'nonsense',
    'NOTICE x',
  )
  .map((sql) => [m.query(sql)]);

const extended: fc.Arbitrary<Move> = fc
  .constantFrom(
    m.parse('SELECT a'),
    m.parse('nonsense'),
    m.parse('FAIL'),
    m.parse('', ''),
    m.bind(),
    m.bind({ statement: 'none' }),
    m.bind({ portal: 'p' }),
    m.describe('S'),
    m.describe('P'),
    m.describe('S', 'none'),
    m.execute(),
    m.execute('none'),
    m.execute('', 1),
    m.close('S', 'x'),
    m.close('P', 'p'),
    m.sync(),
    m.sync(),
    m.flush(),
    m.functionCall(1),
    m.functionCall(2),
    // Late ones of a COPY that there never was.
    m.copyData('late'),
    m.copyDone(),
    m.copyFail(),
  )
  .map((message) => [message]);

const wholeBatch: fc.Arbitrary<Move> = fc
  .tuple(
    fc.constantFrom('SELECT a', 'FAIL', 'INSERT x', 'BEGIN', 'COMMIT', 'DEFERRED', 'ROWS 5 x', 'COPY OUT 1'),
    fc.nat(30),
  )
  .map(([sql, syncs]) => [m.batch(sql), ...Array.from({ length: syncs % 4 }, () => m.sync()), m.batch(sql), m.sync()]);

/** Data of one COPY: it may be bad, but then no Sync or Flush is between it and its end (see `docs/architecture.md`). */
const copyData: fc.Arbitrary<Move> = fc.oneof(
  fc.array(fc.constantFrom(m.copyData('good'), m.sync(), m.flush()), { maxLength: 5 }),
  fc
    .tuple(
      fc.array(fc.constantFrom(m.sync(), m.flush()), { maxLength: 2 }),
      fc.array(fc.constantFrom(m.copyData('good'), m.copyData('bad')), { maxLength: 4 }),
    )
    .map(([first, data]) => [...first, ...data]),
);

const copyEnd = fc.constantFrom(m.copyDone(), m.copyDone(), m.copyFail());

const simpleCopy: fc.Arbitrary<Move> = fc
  .tuple(
    fc.constantFrom('COPY IN', 'COPY IN; COPY IN', 'COPY REFUSED', 'COPY IN; FAIL', 'SELECT a; COPY IN; COPY REFUSED'),
    copyData,
    copyEnd,
    copyData,
    copyEnd,
  )
  .map(([sql, data, end, moreData, moreEnd]) => [m.query(sql), ...data, end, ...withoutSync(moreData), moreEnd]);

/** The second COPY of a Query may not be there, and then a Sync between would be another one. */
function withoutSync(move: Move): Move {
  return move.filter((message) => message[0] === 0x64);
}

const extendedCopy: fc.Arbitrary<Move> = fc
  .tuple(fc.constantFrom('COPY IN', 'COPY IN', 'COPY REFUSED'), copyData, copyEnd, fc.boolean())
  .map(([sql, data, end, synced]) => [m.batch(sql), ...data, end, ...(synced ? [m.sync()] : [])]);

export const moves: fc.Arbitrary<Move[]> = fc.array(
  fc.oneof(
    { arbitrary: simple, weight: 4 },
    { arbitrary: extended, weight: 8 },
    { arbitrary: wholeBatch, weight: 3 },
    simpleCopy,
    extendedCopy,
  ),
  { maxLength: 25 },
);
