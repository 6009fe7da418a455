/** Conversations in the simple query protocol, and what servers say without being asked. */
import { copyData, copyDone, flush, functionCall, message, query, repeat, sync, terminate } from './client-bytes.ts';
import { type Conversation, conversation, hear, say, transaction } from './conversation.ts';

const long = (length: number): string => 'x'.repeat(length);

/** int4pl and int4div, and a function that does not exist. */
const PLUS = 177;
const DIVIDE = 154;
const NO_FUNCTION = 4_000_000;

const plain: readonly Conversation[] = [
  conversation('nothing but a login', []),
  conversation('one query', [say('select', query('select 1 as one'))]),
  conversation('an empty query', [say('nothing', query('')), hear('Z', 2), say('a comment', query('-- nothing\n ;'))]),
  conversation('several statements in one query', [
    say('three', query("select 1; select 'two'; update notes set id = 1; select")),
  ]),
  conversation('rows without columns, without rows, with NULL', [
    say('no columns', query('select from generate_series(1, 3)')),
    say('no rows', query('select 1 where false')),
    say('null', query("select null, '', 'null'")),
  ]),
  conversation('a syntax error, and on', [
    say('error', query('selekt 1')),
    hear('Z', 2),
    say('select', query('select 2')),
  ]),
  conversation('an error in the middle rolls the others back', [
    say('error', query('insert into notes values (1); select 1/0; insert into notes values (2)')),
    hear('Z', 2),
    say('count', query('select count(*) from notes')),
  ]),
  conversation('an error after rows have been sent', [
    say('error', query('select 10 / (3 - i) from generate_series(1, 5) i')),
    say('select', query('select 1')),
  ]),
  conversation('queries that do not wait for answers', [
    say('thirty', ...Array.from({ length: 30 }, (_, i) => query(`select ${i} as number, 1 / (${i} % 7 - 3)`))),
  ]),
  conversation('a Sync and a Flush among queries', [
    say('mixed', sync, query('select 1'), flush, sync, query('select 2'), sync),
  ]),
  conversation('a cancel of itself and a timeout', [
    say('cancel', query("select pg_cancel_backend(pg_backend_pid()), 'self'")),
    hear('Z', 2),
    say('timeout', query('set statement_timeout = 20; select pg_sleep(5)')),
    hear('Z', 3),
    say('reset', query('reset statement_timeout')),
  ]),
];

const transactions: readonly Conversation[] = [
  transaction('a transaction, statement by statement', [
    say('begin', query('begin')),
    hear('Z', 2),
    say('insert', query("insert into notes values (1, 'one')")),
    hear('Z', 3),
    say('select', query('select * from notes')),
    hear('Z', 4),
    say('commit', query('commit')),
    hear('Z', 5),
    say('select', query('select * from notes')),
  ]),
  transaction('a transaction in one query, and one that stays open', [
    say('whole', query('begin; insert into notes values (1); commit; select count(*) from notes')),
    say('open', query('select 1; begin; select 2')),
    hear('Z', 3),
    say('close', query('rollback; select 3')),
  ]),
  transaction('a failed transaction', [
    say('begin', query('begin')),
    hear('Z', 2),
    say('error', query('select 1/0')),
    hear('Z', 3),
    say('refused', query('select 1')),
    hear('Z', 4),
    say('commit that rolls back', query('commit')),
    hear('Z', 5),
    say('again', query('commit')),
  ]),
  transaction('savepoints', [
    say('begin', query('begin; savepoint a; insert into notes values (1)')),
    say('error', query('insert into notes values (1)')),
    hear('Z', 3),
    say('back', query('rollback to a; insert into notes values (2); release a')),
    say('end', query('commit; select * from notes')),
  ]),
  transaction('chained transactions', [
    say('begin', query('begin isolation level serializable')),
    say('chain', query('insert into notes values (1)'), query('commit and chain')),
    hear('Z', 4),
    say('still in it', query('show transaction_isolation')),
    say('chain of a failed one', query('select 1/0'), query('rollback and chain')),
    hear('Z', 7),
    say('end', query('commit'), query('select id from notes')),
  ]),
  transaction('an implicit transaction that becomes one', [
    say('mixed', query('insert into notes values (1); begin; insert into notes values (2)')),
    hear('Z', 2),
    say('rollback', query('rollback'), query('select count(*) from notes')),
  ]),
  transaction('statements that do not wait, in a transaction', [
    say(
      'all',
      query('begin'),
      ...Array.from({ length: 20 }, (_, i) => query(`insert into notes values (${i})`)),
      query('insert into notes values (1)'),
      query('select 1'),
      query('commit'),
      query('select count(*) from notes'),
    ),
  ]),
  transaction('two phases', [
    say('prepare', query("begin; insert into notes values (1); prepare transaction 'corpus'")),
    hear('Z', 2),
    say('commit', query("commit prepared 'corpus'"), query('select count(*) from notes')),
  ]),
  transaction('a client that leaves in a transaction', [
    say('begin', query('begin; insert into notes values (1)')),
    hear('Z', 2),
  ]),
  transaction('a client that leaves in a failed transaction', [
    say('begin', query('begin'), query('select 1/0')),
    hear('Z', 3),
  ]),
];

const unasked: readonly Conversation[] = [
  conversation(
    'notices',
    [say('one', query('select noisy(1)')), hear('Z', 2), say('many', query('select noisy(5000)'))],
    { isLong: true },
  ),
  conversation('a notification of its own', [
    say('listen', query("listen news; notify news, 'one'; notify news, 'two'; unlisten news")),
    say('done', query('select 1')),
  ]),
  transaction('a notification of its own, in a transaction', [
    say('listen', query('begin; listen news')),
    hear('Z', 2),
    say('notify', query("notify news, 'inside'")),
    hear('Z', 3),
    say('commit', query('commit')),
    hear('Z', 4),
    say('done', query('unlisten news')),
  ]),
  conversation('reported parameters', [
    say(
      'set',
      query("set datestyle = 'German'; set timezone = 'Asia/Tokyo'"),
      query("set application_name to 'über ''x'''"),
    ),
    hear('Z', 3),
    say('shown', query("select current_setting('DateStyle'), current_setting('TimeZone'), date '2026-02-03'")),
    say('reset', query('reset datestyle; reset timezone; reset application_name')),
  ]),
  transaction('reported parameters that are rolled back', [
    say('set', query("begin; set timezone = 'Asia/Tokyo'; set local datestyle = 'SQL, DMY'")),
    hear('Z', 2),
    say('rollback', query('rollback')),
    hear('Z', 3),
    say('shown', query('show timezone'), query('show datestyle')),
    say('local', query("begin; set local application_name = 'for a moment'"), query('commit')),
  ]),
  conversation('another encoding', [
    say('latin', query("set client_encoding = 'latin1'")),
    hear('Z', 2),
    say('select', query("select 'a', chr(228)"), query('select chr(8364)')),
    hear('Z', 4),
    say('back', query('reset client_encoding')),
  ]),
  conversation('backslashes in strings', [
    say('off', query('set standard_conforming_strings = off')),
    hear('Z', 2),
    say('select', query("select 'a\\tb'")),
    hear('Z', 3),
    say('on', query('reset standard_conforming_strings')),
  ]),
  conversation(
    'an error, a notice and a value that are long',
    [
      say('error', query('select loud(200000)')),
      hear('Z', 2),
      say('in the middle', query('select 1; select loud(70000); select 2')),
      say('notice', query(`do $$ begin raise notice '%', repeat('n', 300000); end $$`)),
      say('value', query("select repeat('v', 3000000)")),
    ],
    { isLong: true },
  ),
  transaction('an error that is long, in a transaction', [
    say('begin', query('begin'), query('select loud(100000)'), query('select 1')),
    hear('Z', 4),
    say('end', query('rollback')),
  ]),
];

const calls: readonly Conversation[] = [
  conversation('function calls', [
    say('plus', functionCall(PLUS, '2', '3')),
    hear('Z', 2),
    say('null', functionCall(PLUS, '2', null)),
    say('error', functionCall(DIVIDE, '1', '0')),
    hear('Z', 4),
    say('no such', functionCall(NO_FUNCTION, '1')),
    say(
      'pipelined',
      functionCall(PLUS, '1', '1'),
      query('select 1'),
      functionCall(DIVIDE, '1', '0'),
      functionCall(PLUS, '2', '2'),
    ),
  ]),
  transaction('function calls in a transaction', [
    say(
      'begin',
      query('begin'),
      functionCall(PLUS, '2', '3'),
      functionCall(DIVIDE, '1', '0'),
      functionCall(PLUS, '2', '3'),
    ),
    hear('Z', 5),
    say('end', query('commit')),
  ]),
];

const sizes: readonly Conversation[] = [
  ...[65_530, 65_536, 65_537, 131_072, 4_000_000].map((length) =>
    conversation(`a query of ${length} bytes`, [
      say('select', query(`select length('${long(length)}')`)),
      say('another', query('select 1')),
    ]),
  ),
  conversation(
    'rows of all sizes',
    [
      say('select', query('select i, repeat(chr(97 + i % 26), i) from generate_series(0, 3000, 7) i')),
      say('around a chunk', query("select repeat('r', 65500 + i) from generate_series(1, 60) i")),
    ],
    { isLong: true },
  ),
  conversation('a hundred thousand rows', [say('select', query('select i from generate_series(1, 100000) i'))], {
    isLong: true,
  }),
  conversation('five thousand queries at once', [
    say(
      'all',
      repeat(5000, (i) => query(`select ${i}`)),
    ),
  ]),
];

const ends: readonly Conversation[] = [
  conversation('Terminate behind a query that is not answered', [
    say('both', query("select pg_sleep(0.05), 'answered'"), terminate, query('select 2')),
  ]),
  conversation('Terminate behind several queries', [
    say('all', query('select 1'), query('select 1/0'), query('select 3'), terminate),
  ]),
  conversation('Terminate with a body', [say('both', query('select 1'), message('X', Buffer.from('adieu')))]),
  conversation(
    'the server ends the session',
    [say('end', query("select 1; select pg_terminate_backend(pg_backend_pid()), 'self'; select 2"))],
    { endsServer: true },
  ),
  conversation('data of a COPY that nobody has asked for', [
    say('data', copyData('1\tone\n'), copyDone, query('select 1'), copyDone, copyData('2\n')),
    hear('Z', 2),
    say('more', message('f', Buffer.from('why\0')), query('select 2'), copyData('')),
  ]),
];

export const simpleConversations = [...plain, ...transactions, ...unasked, ...calls, ...sizes, ...ends];
