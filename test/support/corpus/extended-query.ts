/** Conversations in the extended query protocol: all message kinds, pipelines, portals, errors until Sync. */
import {
  bind,
  close,
  describe,
  execute,
  extended,
  flush,
  functionCall,
  parse,
  query,
  repeat,
  sync,
  terminate,
} from './client-bytes.ts';
import { type Conversation, conversation, hear, say, transaction } from './conversation.ts';

const INT4 = 23;
const TEXT = 25;
const PLUS = 177;

const single: readonly Conversation[] = [
  conversation('one statement', [say('all', extended('select 1 as one'), sync)]),
  conversation('values of all kinds', [
    say('text', parse('select $1, $2, $3 is null', '', [INT4, TEXT, TEXT]), bind({ values: ['7', 'a\0', null] })),
    say('end', execute(), sync),
    hear('Z', 2),
    say('good', parse('select $1, $2, $3 is null', '', [INT4, TEXT, TEXT]), bind({ values: ['7', 'é', null] })),
    say('end', describe('P'), execute(), sync),
    say(
      'binary',
      parse('select $1::int4, $2::text'),
      bind({ values: [Buffer.of(0, 0, 1, 0), 'b'], valueFormat: 1, resultFormat: 1 }),
    ),
    say('end', describe('P'), execute(), sync),
  ]),
  conversation('an empty statement', [say('all', parse(''), describe('S'), bind(), describe('P'), execute(), sync)]),
  conversation('Describe of both kinds', [
    say('statement', parse('select $1::int + 1, now() > $2', '', []), describe('S'), sync),
    hear('Z', 2),
    say('no data', parse('insert into notes values ($1)'), describe('S'), bind({ values: ['5'] }), describe('P'), sync),
  ]),
  conversation('named statements and portals, closed again', [
    say('parse', parse('select $1::int', 'corpus_statement'), describe('S', 'corpus_statement'), sync),
    hear('Z', 2),
    say('twice', bind({ portal: 'a', statement: 'corpus_statement', values: ['1'] }), execute('a')),
    say('twice', bind({ portal: 'b', statement: 'corpus_statement', values: ['2'] }), execute('b'), sync),
    hear('Z', 3),
    say('close', close('P', 'a'), close('S', 'corpus_statement'), close('S', 'never was'), sync),
  ]),
  conversation('a named statement that exists already', [
    say('parse', parse('select 1', 'corpus_twice'), sync, parse('select 2', 'corpus_twice'), sync),
    say('syntax first', parse('selekt 3', 'corpus_twice'), sync, close('S', 'corpus_twice'), sync),
  ]),
  conversation('Parse and Describe now, Bind and Execute later', [
    say('first', parse('select $1::text'), describe('S'), flush),
    hear('t'),
    hear('T'),
    say('then', bind({ values: ['later'] }), execute(), sync),
  ]),
  conversation('a Sync alone, and a Flush alone', [
    say('sync', sync),
    hear('Z', 2),
    say('flush', flush, flush),
    say('three', sync, sync, sync, flush),
  ]),
  conversation('a row limit, and on with Flush', [
    say('open', parse('select i from generate_series(1, 10) i'), bind({ portal: 'cursor' }), describe('P', 'cursor')),
    say('first', execute('cursor', 4), flush),
    hear('s'),
    say('second', execute('cursor', 4), flush),
    hear('s', 2),
    say('third', execute('cursor', 4), flush),
    hear('C'),
    say('end', close('P', 'cursor'), sync),
  ]),
  conversation(
    'a row limit that is never served to its end',
    [
      say(
        'open',
        parse('select i from generate_series(1, 10) i'),
        bind({ portal: 'cursor' }),
        execute('cursor', 4),
        flush,
      ),
      hear('s'),
    ],
    { needsWaits: true },
  ),
  conversation('an unnamed portal served in parts', [
    say(
      'parts',
      parse('select i from generate_series(1, 5) i'),
      bind(),
      execute('', 2),
      execute('', 2),
      execute('', 2),
      sync,
    ),
    hear('Z', 2),
    say('gone', execute('', 2), sync),
  ]),
  conversation('statements that return nothing, and utilities', [
    say('insert', extended('insert into notes values (1) returning id'), extended('update notes set id = 2'), sync),
    say('show', extended('show server_encoding'), extended('explain (costs off) select 1'), sync),
    say('set', extended("set timezone = 'UTC'"), sync, extended('reset timezone'), sync),
    say('notices', extended('select noisy(3)'), sync),
  ]),
];

const errorsUntilSync: readonly Conversation[] = [
  conversation('an error in Parse', [
    say('all', extended('selekt'), extended('select 1'), sync, extended('select 2'), sync),
  ]),
  conversation('an error in Bind', [
    say('all', parse('select $1::int'), bind({ values: ['seven'] }), describe('P'), execute(), flush, sync),
    hear('Z', 2),
    say('unknown', bind({ statement: 'no_such' }), execute(), sync, execute('no_such'), sync),
    say('wrong number', parse('select $1::int'), bind({ values: [] }), sync),
  ]),
  conversation('an error in Execute, and nothing until Sync', [
    say('all', extended('select 1/0'), extended('select 1'), close('S', 'x'), flush),
    hear('E'),
    say('still', extended('insert into notes values (1)'), flush, describe('S', 'x')),
    say('sync', sync, extended('select count(*) from notes'), sync),
  ]),
  conversation('an error in Describe', [
    say('all', describe('S', 'no_such'), flush),
    hear('E'),
    say('end', sync, describe('P', 'no_such'), sync, extended('select 1'), sync),
  ]),
  conversation('a Query and a FunctionCall after an error, before Sync', [
    say('all', extended('select 1/0'), query('insert into notes values (1)'), functionCall(PLUS, '1', '2'), sync),
    hear('Z', 2),
    say('count', query('select count(*) from notes')),
  ]),
  conversation('an error, and the Sync much later', [
    say('error', extended('select 1/0'), flush),
    hear('E'),
    say('one', parse('select 1')),
    say('two', bind()),
    say('three', execute()),
    say('four', sync, query('select 4')),
  ]),
  conversation('an error that nobody waits for the end of', [say('error', extended('select 1/0'), flush), hear('E')], {
    needsWaits: true,
  }),
  conversation('errors in every second batch', [
    say(
      'all',
      repeat(60, (i) => Buffer.concat([extended(`select 1 / (${i} % 2)`), extended(`select ${i}`), sync])),
    ),
  ]),
  conversation('a deferred constraint fails at Sync', [
    say('all', extended('insert into deferred values (1)'), extended('insert into deferred values (1)'), sync),
    say('next', extended('select count(*) from deferred'), sync),
  ]),
  transaction('a deferred constraint fails at COMMIT', [
    say(
      'all',
      extended('begin'),
      sync,
      extended('insert into deferred values (1), (1)'),
      sync,
      extended('commit'),
      sync,
    ),
    say('next', extended('select count(*) from deferred'), sync),
  ]),
];

const batches: readonly Conversation[] = [
  conversation('an implicit transaction over a batch', [
    say('fails', extended('insert into notes values (1)'), extended('insert into notes values (1)'), sync),
    hear('Z', 2),
    say('count', extended('select count(*) from notes'), sync),
    say('works', extended('insert into notes values (1)'), extended('insert into notes values (2)'), sync),
    say('count', extended('select count(*) from notes'), sync),
  ]),
  transaction('a transaction in one batch', [
    say('all', extended('begin'), extended('insert into notes values (1)'), extended('commit'), sync),
    say('open', extended('begin'), extended('insert into notes values (2)'), sync),
    hear('Z', 3),
    say('fail', extended('insert into notes values (2)'), sync, extended('select 1'), sync),
    say('end', extended('rollback'), sync, extended('select * from notes'), sync),
  ]),
  conversation('a batch without Sync, and the client leaves', [
    say('insert', extended('insert into notes values (1)')),
  ]),
  conversation(
    'a batch without Sync, answered, and the client leaves',
    [say('insert', extended('insert into notes values (1)'), flush), hear('C')],
    { needsWaits: true },
  ),
  conversation('a batch, Terminate, and no Sync ever', [
    say('all', extended('select 1'), sync, extended('insert into notes values (1)'), terminate, sync),
  ]),
  // The Query finds itself in a transaction that nobody has begun.
  transaction('a Query inside an open batch', [
    say('all', parse('select 1'), bind(), query('select 2'), execute(), sync),
    hear('Z', 3),
    say('again', extended('insert into notes values (3)'), query('select count(*) from notes'), sync),
    say('function', extended('select 5'), functionCall(PLUS, '1', '2'), sync),
  ]),
  transaction('named portals in a transaction', [
    say(
      'open',
      query('begin'),
      parse('select i from generate_series(1, 6) i'),
      bind({ portal: 'one' }),
      bind({ portal: 'two' }),
    ),
    say('mix', execute('one', 2), execute('two', 3), sync),
    hear('Z', 3),
    say('on', execute('one', 2), execute('two', 0), sync),
    hear('Z', 4),
    say('fetch', query('fetch 1 from one'), close('P', 'two'), execute('two'), sync),
    hear('Z', 6),
    say('end', query('rollback'), execute('one'), sync),
  ]),
  transaction('cursors of SQL', [
    say('open', query('begin; declare c cursor for select i from generate_series(1, 100) i')),
    ...Array.from({ length: 4 }, (_, i) => [
      say('fetch', extended(`fetch ${10 + i} from c`), sync),
      hear('Z', 3 + i),
    ]).flat(),
    say('end', query('close c; commit')),
  ]),
];

const pipelines: readonly Conversation[] = [
  conversation('a pipeline of five hundred Syncs', [
    say(
      'all',
      repeat(500, (i) => Buffer.concat([extended(`select ${i}`), sync])),
    ),
  ]),
  conversation(
    'a hundred thousand Syncs',
    [
      say(
        'all',
        repeat(100_000, () => sync),
      ),
    ],
    { isLong: true },
  ),
  conversation(
    'forty thousand executions in one batch',
    [
      say(
        'all',
        parse('select 1', 'corpus_many'),
        repeat(40_000, () => Buffer.concat([bind({ statement: 'corpus_many' }), execute()])),
      ),
      say('end', close('S', 'corpus_many'), sync),
    ],
    { isLong: true },
  ),
  conversation(
    'seventy thousand statements without a Flush',
    [
      say(
        'all',
        repeat(70_000, () => parse('select 1')),
        sync,
      ),
    ],
    { isLong: true },
  ),
  conversation('a pipeline that mixes everything', [
    say('all', repeat(40, mixed)),
    say('end', close('S', 'corpus_mixed'), sync),
  ]),
  conversation(
    'values of 64 KB and of megabytes',
    [
      ...[65_400, 65_536, 3_000_000].map((length) =>
        say(
          `${length}`,
          parse('select length($1), $1', '', [TEXT]),
          bind({ values: ['v'.repeat(length)] }),
          execute(),
          sync,
        ),
      ),
      say('a long statement', parse(`select '${'s'.repeat(200_000)}'`), bind(), execute(), sync),
    ],
    { isLong: true },
  ),
];

function mixed(i: number): Buffer {
  switch (i % 8) {
    case 0:
      return query(`select ${i}; select 'two'`);
    case 1:
      return Buffer.concat([close('S', 'corpus_mixed'), parse('select $1::int', 'corpus_mixed'), sync]);
    case 2:
      return Buffer.concat([bind({ statement: 'corpus_mixed', values: [`${i}`] }), describe('P'), execute(), sync]);
    case 3:
      return Buffer.concat([bind({ statement: 'corpus_mixed', values: ['no number'] }), execute(), flush, sync]);
    case 4:
      return Buffer.concat([sync, flush, sync]);
    case 5:
      return functionCall(PLUS, `${i}`, '1');
    case 6:
      return query('select 1/0');
    default:
      return Buffer.concat([extended('selekt'), query('select 1'), sync]);
  }
}

export const extendedConversations = [...single, ...errorsUntilSync, ...batches, ...pipelines];
