/** Conversations with COPY, in the order in which clients really send its messages, and in others. */
import {
  bind,
  copyData,
  copyDone,
  copyFail,
  execute,
  extended,
  flush,
  functionCall,
  message,
  parse,
  query,
  repeat,
  sync,
  terminate,
} from './client-bytes.ts';
import { type Conversation, conversation, hear, say, transaction } from './conversation.ts';

const IN = 'copy copied from stdin';
const rows = [copyData('1\tone\n'), copyData('2\ttwo\n')] as const;
const countCopied = say('count', query('select count(*) from copied'));
/** A statement that begins a COPY in the extended protocol, without Sync. */
const copyIn = (sql = IN): Buffer => Buffer.concat([parse(sql), bind(), execute()]);

/** PostgreSQL's binary format: signature, flags, no extension; rows of one int4. */
const BINARY_HEADER = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
const binaryRow = (value: number): Buffer => Buffer.of(0, 1, 0, 0, 0, 4, 0, 0, 0, value);
const BINARY_END = Buffer.of(0xff, 0xff);

const simpleIn: readonly Conversation[] = [
  conversation('COPY in, waiting for the server', [
    say('copy', query(IN)),
    hear('G'),
    say('data', ...rows),
    say('done', copyDone),
    hear('Z', 2),
    countCopied,
  ]),
  conversation('COPY in, all at once', [
    say('all', query(IN), ...rows, copyDone, query('select count(*) from copied')),
  ]),
  conversation('COPY in without a row', [say('all', query(IN), copyDone), countCopied]),
  conversation('COPY in of binary data', [
    say('copy', query('copy copied_too from stdin (format binary)')),
    hear('G'),
    say(
      'data',
      copyData(BINARY_HEADER),
      copyData(binaryRow(7)),
      copyData(binaryRow(8)),
      copyData(BINARY_END),
      copyDone,
    ),
    hear('Z', 2),
    say('check', query('select * from copied_too')),
  ]),
  conversation('COPY in of bad data', [
    say('copy', query(IN)),
    hear('G'),
    say('bad', copyData('one\ttwo\n')),
    say('more', ...rows, copyDone),
    hear('Z', 2),
    countCopied,
  ]),
  conversation('COPY in of bad data, all at once', [
    say('all', query(IN), copyData('bad\n'), ...rows, copyDone, query('select 1')),
  ]),
  conversation('COPY in of data that goes on long after the error', [
    say('copy', query(IN), copyData('bad\n')),
    hear('Z', 2),
    say(
      'late',
      repeat(3000, () => copyData('5\tlate\n')),
    ),
    say('done', copyDone, query('select count(*) from copied')),
  ]),
  conversation('COPY in that the client fails', [
    say('copy', query(IN)),
    hear('G'),
    say('fail', rows[0], copyFail('no more')),
    hear('Z', 2),
    say('at once', query(IN), copyFail('never'), query('select count(*) from copied')),
  ]),
  conversation('COPY in that is refused', [
    say('refused', query('copy no_such from stdin'), ...rows, copyDone),
    hear('Z', 2),
    say('next', query('select 1')),
  ]),
  conversation('two COPYs in one query', [
    say('copy', query(`${IN}; copy copied_too from stdin; select count(*) from copied`)),
    hear('G'),
    say('first', ...rows, copyDone),
    hear('G', 2),
    say('second', copyData('3\n'), copyDone),
  ]),
  conversation('two COPYs in one query, all at once', [
    say(
      'all',
      query(`${IN}; copy copied_too from stdin; select 1`),
      ...rows,
      copyDone,
      copyData('3\n'),
      copyDone,
      query('select 2'),
    ),
  ]),
  conversation('two COPYs in one query, the first fails', [
    say('all', query(`${IN}; copy copied_too from stdin`), copyData('bad\n'), copyDone, copyData('3\n'), copyDone),
    say('next', query('select count(*) from copied_too')),
  ]),
  conversation('two COPYs in one query, the second fails', [
    say('all', query(`${IN}; copy copied_too from stdin`), ...rows, copyDone, copyData('bad\n'), copyDone),
    say('next', query('select count(*) from copied')),
  ]),
  conversation('many COPYs at once', [
    say(
      'all',
      repeat(50, (i) => Buffer.concat([query(IN), copyData(`${i}\tx\n`), copyDone])),
    ),
    countCopied,
  ]),
  conversation(
    'COPY in of three megabytes in large pieces',
    [
      say(
        'all',
        query(IN),
        repeat(30, () => copyData('1\tabcdefghijkl\n'.repeat(7000))),
        copyDone,
      ),
      countCopied,
    ],
    { isLong: true },
  ),
  conversation(
    'COPY in of small pieces that cut rows',
    [
      say(
        'all',
        query(IN),
        repeat(20_000, (i) => copyData(['1', '\t', 'x', '\n'][i % 4] ?? '')),
        copyDone,
      ),
      countCopied,
    ],
    { isLong: true },
  ),
  transaction('COPY in inside a transaction', [
    say('all', query('begin'), query(IN), ...rows, copyDone, query('select count(*) from copied'), query('rollback')),
    countCopied,
  ]),
  transaction('COPY in inside a failed transaction', [
    say('all', query('begin'), query('select 1/0')),
    hear('Z', 3),
    say('copy', query(IN), ...rows, copyDone),
    hear('Z', 4),
    say('end', query('commit')),
  ]),
];

const syncsIn: readonly Conversation[] = [
  conversation('Sync and Flush within the data', [
    say('copy', query(IN)),
    hear('G'),
    say('data', rows[0], sync, flush, rows[1], sync, copyDone, sync),
    hear('Z', 3),
    countCopied,
  ]),
  conversation('Sync and Flush within the data, all at once', [
    say('all', query(IN), rows[0], sync, flush, rows[1], sync, copyDone, sync, query('select 1')),
  ]),
  conversation('Syncs within data that is refused, all at once', [
    say(
      'all',
      query('copy no_such from stdin'),
      rows[0],
      sync,
      flush,
      rows[1],
      sync,
      copyDone,
      sync,
      query('select 1'),
    ),
  ]),
  conversation('Syncs within data that goes bad, all at once', [
    say('all', query(IN), rows[0], sync, copyData('bad\n'), sync, rows[1], sync, copyDone, sync, query('select 1')),
  ]),
  conversation('Syncs between the query and its data', [
    say('all', query(IN), sync, sync, ...rows, copyDone, query('select 1')),
  ]),
];

const extendedIn: readonly Conversation[] = [
  conversation('extended COPY in, with a Sync before the data', [
    say('copy', copyIn(), sync),
    hear('G'),
    say('data', ...rows, copyDone, sync),
    hear('Z', 2),
    countCopied,
  ]),
  conversation('extended COPY in, with a Flush before the data', [
    say('copy', copyIn(), flush),
    hear('G'),
    say('data', ...rows, copyDone, flush),
    hear('C'),
    say('end', sync),
    countCopied,
  ]),
  conversation('extended COPY in, all at once', [
    say('all', copyIn(), sync, ...rows, copyDone, sync, extended('select 1'), sync),
    countCopied,
  ]),
  conversation('extended COPY in without Sync, all at once', [
    say('all', copyIn(), ...rows, copyDone, sync, extended('select 1'), sync),
    countCopied,
  ]),
  conversation('extended COPY in with Syncs everywhere, all at once', [
    say('all', copyIn(), sync, rows[0], sync, flush, rows[1], sync, copyDone, sync, sync, query('select 1')),
    countCopied,
  ]),
  conversation('extended COPY in that is refused, all at once', [
    say('all', copyIn('copy no_such from stdin'), sync, ...rows, copyDone, sync, extended('select 1'), sync),
  ]),
  conversation('extended COPY in that is refused, the first Sync behind data', [
    say('all', copyIn('copy no_such from stdin'), rows[0], sync, rows[1], copyDone, sync, extended('select 1'), sync),
  ]),
  conversation('data in a batch without a COPY', [
    say(
      'all',
      extended('select 1'),
      rows[0],
      sync,
      extended('select 2'),
      rows[0],
      flush,
      rows[1],
      copyDone,
      sync,
      sync,
    ),
    say('again', extended('select 3'), sync, rows[0], sync, query('select 4'), rows[0], sync, copyDone, sync),
  ]),
  conversation('extended COPY in that is refused, Syncs everywhere', [
    say('all', copyIn('copy no_such from stdin'), sync, rows[0], sync, rows[1], copyDone, sync, query('select 1')),
  ]),
  conversation('extended COPY in of bad data', [
    say('copy', copyIn(), sync),
    hear('G'),
    say('data', copyData('bad\n'), ...rows, copyDone, sync),
    hear('Z', 2),
    countCopied,
  ]),
  conversation('extended COPY in of bad data, all at once', [
    say('all', copyIn(), sync, copyData('bad\n'), sync, rows[0], copyDone, sync, extended('select 1'), sync),
  ]),
  conversation('extended COPY in that the client fails', [
    say('all', copyIn(), sync, rows[0], copyFail('no more'), sync, extended('select 1'), sync),
    countCopied,
  ]),
  conversation('extended COPY in among others in one batch', [
    say('all', extended('insert into notes values (1)'), copyIn(), ...rows, copyDone, extended('select 2'), sync),
    countCopied,
  ]),
  conversation('two extended COPYs in one batch', [
    say('all', copyIn(), ...rows, copyDone, copyIn('copy copied_too from stdin'), copyData('3\n'), copyDone, sync),
    countCopied,
  ]),
  conversation('two extended COPYs in one batch, Syncs before the data', [
    say(
      'all',
      copyIn(),
      sync,
      ...rows,
      copyDone,
      sync,
      copyIn('copy copied_too from stdin'),
      sync,
      copyData('3\n'),
      copyDone,
      sync,
    ),
    countCopied,
  ]),
  conversation('an error before an extended COPY in the batch', [
    say('all', extended('select 1/0'), copyIn(), ...rows, copyDone, sync, query('select 1')),
    countCopied,
  ]),
  transaction('extended COPY in inside a transaction', [
    say('all', query('begin'), copyIn(), sync, ...rows, copyDone, sync, query('commit')),
    countCopied,
  ]),
];

const out: readonly Conversation[] = [
  conversation('COPY out', [
    say('text', query("copy (select i, 'x' || i from generate_series(1, 20) i) to stdout")),
    say('binary', query('copy (select 1, null::text) to stdout (format binary)')),
    say('none', query('copy copied to stdout; select 1')),
    say('csv', query("copy (select 'a,b') to stdout (format csv, header)")),
  ]),
  conversation('extended COPY out', [
    say('all', extended('copy (select i from generate_series(1, 20) i) to stdout'), extended('select 1'), sync),
  ]),
  conversation('COPY out that fails in the middle', [
    say('all', query('copy (select 10 / (5 - i) from generate_series(1, 9) i) to stdout'), query('select 1')),
    say('extended', extended('copy (select 10 / (5 - i) from generate_series(1, 9) i) to stdout'), sync),
  ]),
  conversation(
    'COPY out of megabytes',
    [
      say(
        'all',
        query("copy (select i, repeat('y', 90) from generate_series(1, 40000) i) to stdout"),
        query('select 1'),
      ),
      say('rows', query("copy (select repeat('z', 200000) from generate_series(1, 10)) to stdout")),
    ],
    { isLong: true },
  ),
];

const violations: readonly Conversation[] = [
  conversation(
    'a Query within a COPY in',
    [say('copy', query(IN)), hear('G'), say('query', rows[0], query('select 1')), hear('E', 2)],
    {
      endsServer: true,
      needsWaits: true,
    },
  ),
  conversation(
    'a FunctionCall within a COPY in',
    [say('copy', query(IN)), hear('G'), say('call', functionCall(177, '1', '2')), hear('E', 2)],
    {
      endsServer: true,
      needsWaits: true,
    },
  ),
  conversation(
    'a Parse within an extended COPY in',
    [say('copy', copyIn(), sync), hear('G'), say('parse', parse('select 1'), sync), hear('E', 2)],
    {
      endsServer: true,
      needsWaits: true,
    },
  ),
  conversation('Terminate within a COPY in', [say('copy', query(IN)), hear('G'), say('terminate', rows[0], terminate)]),
  conversation('a CopyDone with a body', [
    say('copy', query(IN), rows[0], message('c', Buffer.from('x')), query('select 1')),
  ]),
];

export const copyConversations = [...simpleIn, ...syncsIn, ...extendedIn, ...out, ...violations];
