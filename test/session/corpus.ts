/** Conversations of one client, each in steps that are sent one after the other has been answered. */
import { client as m } from '../support/wire.ts';

export interface Conversation {
  readonly name: string;
  readonly steps: readonly Buffer[];
  /**
   * What the server sees depends on what it has answered by then (a Sync or a Flush that COPY makes unnecessary), or on
   * what it has prepared already; what the client sees does not.
   */
  readonly timing?: true;
}

const one = (name: string, ...messages: readonly Buffer[]): Conversation => ({
  name,
  steps: [Buffer.concat(messages)],
});

const timed = (name: string, ...messages: readonly Buffer[]): Conversation => ({
  ...one(name, ...messages),
  timing: true,
});

/** Statement names are used once in each conversation, and closed. */
export const corpus: readonly Conversation[] = [
  one('simple query', m.query('SELECT a')),
  one('three queries in a packet', m.query('INSERT one'), m.query('FAIL'), m.query('INSERT two')),
  one('multi-statement query', m.query('INSERT one; SELECT a; INSERT two')),
  one('multi-statement query that fails', m.query('INSERT one; FAIL; INSERT two'), m.query('SELECT a')),
  one('transaction in a pipeline', m.query('BEGIN'), m.query('INSERT one'), m.query('COMMIT')),
  one('transaction that fails', m.query('BEGIN'), m.query('INSERT one'), m.query('FAIL'), m.query('COMMIT')),
  one('empty queries', m.query(''), m.query(';'), m.sync(), m.sync()),
  one('rows', m.query('ROWS 5 abc')),
  one('notices', m.query('NOTICE hello'), m.query('SELECT a')),
  one('extended query', m.extended('INSERT one'), m.extended('SELECT a')),
  one('extended batch', m.batch('INSERT one'), m.batch('INSERT two'), m.sync(), m.query('SELECT a')),
  one('batch that fails in the middle', m.batch('INSERT one'), m.batch('FAIL'), m.batch('INSERT two'), m.sync()),
  one('batch that fails, and another one', m.batch('FAIL'), m.sync(), m.batch('INSERT two'), m.sync()),
  one('syntax error in a batch', m.parse('nonsense'), m.bind(), m.execute(), m.sync(), m.extended('SELECT a')),
  one('query inside a batch', m.batch('INSERT one'), m.query('INSERT two'), m.sync()),
  one('query inside a batch that has failed', m.batch('FAIL'), m.query('INSERT two'), m.sync(), m.query('SELECT a')),
  one('deferred failure at Sync', m.batch('DEFERRED'), m.sync(), m.query('SELECT a')),
  timed('named statement', m.parse('SELECT a', 'n1'), m.describe('S', 'n1'), m.close('S', 'n1'), m.sync()),
  one(
    'portals with row limits',
    m.parse('ROWS 5 abc'),
    m.bind({ portal: 'p' }),
    m.execute('p', 2),
    m.execute('p', 2),
    m.execute('p', 2),
    m.close('P', 'p'),
    m.sync(),
  ),
  one('function calls', m.functionCall(1), m.functionCall(2), m.functionCall(1)),
  one('parameters', m.query("SET application_name = 'x'"), m.query('RESET ALL')),
  one('copy out', m.query('COPY OUT 3'), m.batch('COPY OUT 2'), m.sync()),
  {
    ...one(
      'stray copy messages',
      m.copyData('x'),
      m.copyDone(),
      m.query('SELECT a'),
      m.copyFail(),
      m.query('SELECT b'),
    ),
    timing: true,
  },
  one('flush without a batch', m.flush(), m.query('SELECT a'), m.flush()),
  {
    name: 'flush by flush',
    steps: [m.parse('INSERT one'), m.flush(), m.bind(), m.flush(), m.execute(), m.flush(), m.sync()],
  },
  {
    name: 'describe first',
    steps: [
      Buffer.concat([m.parse('SELECT a'), m.describe('S'), m.flush()]),
      Buffer.concat([m.bind(), m.execute(), m.sync()]),
    ],
  },
  { name: 'copy in, step by step', steps: [m.query('COPY IN'), m.copyData('one'), m.copyData('two'), m.copyDone()] },
  { name: 'copy in, failed by the client', steps: [m.query('COPY IN'), m.copyData('one'), m.copyFail()] },
  { name: 'copy in with bad data', steps: [m.query('COPY IN'), m.copyData('bad'), m.copyData('two'), m.copyDone()] },
  {
    name: 'extended copy in',
    steps: [Buffer.concat([m.batch('COPY IN'), m.flush()]), m.copyData('one'), m.copyDone(), m.sync()],
    timing: true,
  },
  one('copy in, all at once', m.query('COPY IN'), m.copyData('one'), m.copyDone(), m.query('SELECT a')),
  {
    ...one('copy refused, all at once', m.query('COPY REFUSED'), m.copyData('one'), m.copyDone(), m.query('SELECT a')),
    timing: true,
  },
  one(
    'two copies, all at once',
    m.query('COPY IN; COPY IN'),
    m.copyData('1'),
    m.copyDone(),
    m.copyData('2'),
    m.copyDone(),
  ),
  {
    ...one('extended copy as libpq sends it', m.batch('COPY IN'), m.sync(), m.copyData('one'), m.copyDone(), m.sync()),
    timing: true,
  },
  {
    // Between the data and its end no client sends a Sync: whether PostgreSQL answers it depends on the data.
    ...one(
      'extended copy with bad data',
      m.batch('COPY IN'),
      m.copyData('bad'),
      m.copyDone(),
      m.sync(),
      m.query('SELECT a'),
    ),
    timing: true,
  },
  {
    ...one(
      'extended copy refused',
      m.batch('COPY REFUSED'),
      m.copyData('one'),
      m.sync(),
      m.copyDone(),
      m.query('SELECT a'),
    ),
    timing: true,
  },
  { ...one('sync in copy', m.query('COPY IN'), m.copyData('one'), m.sync(), m.copyDone(), m.sync()), timing: true },
];
