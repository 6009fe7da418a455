/** Conversations about prepared statements: over several transactions, under all names, deallocated in every way. */
import { bind, close, describe, execute, extended, flush, parse, query, sync } from './client-bytes.ts';
import { type Conversation, conversation, hear, say, transaction } from './conversation.ts';

const INT4 = 23;
const TEXT = 25;
const use = (statement: string, ...values: readonly string[]): Buffer =>
  Buffer.concat([bind({ statement, values }), describe('P'), execute(), sync]);
const prepare = (sql: string, name: string, types: readonly number[] = []): Buffer =>
  Buffer.concat([parse(sql, name, types), sync]);
/** Statements of SQL and of the protocol share their names, so all of them go. */
const end = (...names: readonly string[]): ReturnType<typeof say> =>
  say('close', ...names.map((name) => close('S', name)), sync);

const transactions: readonly Conversation[] = [
  conversation('statements in later transactions', [
    say('parse', prepare('select $1::int + 1', 'a'), prepare('select $1 || $2', 'b', [TEXT, TEXT])),
    hear('Z', 3),
    say('use', use('a', '1'), use('b', 'x', 'y')),
    hear('Z', 5),
    say('describe', describe('S', 'b'), describe('S', 'a'), sync, use('a', '2'), use('a', '3')),
    end('a', 'b'),
  ]),
  conversation('parameter types are part of a statement', [
    say('parse', prepare('select $1', 'i', [INT4]), prepare('select $1', 't', [TEXT]), prepare('select $1', 'u')),
    say('describe', describe('S', 'i'), describe('S', 't'), describe('S', 'u'), sync),
    say('use', use('i', '7'), use('t', 'seven'), use('u', 'eight'), use('i', 'seven')),
    say('unknown type', prepare('select $1', 'v', [4_000_000]), prepare('select $2::int', 'w', [0, 0])),
    say('undetermined', prepare('select $2::int', 'w')),
    end('i', 't', 'u', 'v', 'w'),
  ]),
  conversation('the unnamed statement over several Syncs', [
    say('parse', parse('select $1::int'), sync),
    hear('Z', 2),
    say('use', use('', '1'), use('', '2'), describe('S'), sync),
    hear('Z', 5),
    say('a named one leaves it', prepare('select 3', 'n'), use('', '3'), use('n'), use('', 'four')),
    say('a failed Bind leaves it', use('', '5')),
    say('a skipped Parse leaves it', execute('none'), parse('select 6'), sync, use('', '6')),
    say('a failed Parse does not', parse('selekt'), sync, use('', '7')),
    say('a Query does not', parse('select 8'), sync, query('select 9'), use('')),
    say('a Close does not', parse('select 10'), close('S'), sync, use('')),
    end('n'),
  ]),
  transaction('statements in a transaction and behind it', [
    say('begin', query('begin'), prepare('select 1', 'in'), use('in'), query('commit'), use('in')),
    hear('Z', 6),
    say('rolled back, it stays', query('begin'), prepare('select 2', 'out'), query('rollback'), use('out')),
    say('failed', query('begin'), use('none'), use('in'), prepare('select 3', 'late'), query('rollback'), use('late')),
    end('in', 'out', 'late'),
  ]),
];

const names: readonly Conversation[] = [
  conversation('names that are unknown', [
    say('bind', bind({ statement: 'no such' }), sync, use('')),
    say('describe', describe('S', 'no such'), sync, describe('S'), sync, describe('P', 'no such'), sync),
    say('close', close('S', 'no such'), close('P', 'no such'), sync),
    say('behind work', extended('select 1'), bind({ statement: 'no such' }), extended('select 2'), sync),
    say('strange', describe('S', 'tsbouncer_1'), sync, describe('S', 'ü "x"'), sync),
  ]),
  conversation('names that are in use', [
    say('parse', prepare('select 1', 'x'), prepare('select 1', 'x'), prepare('select 2', 'x'), use('x')),
    say('other errors first', prepare('selekt', 'x'), prepare('select * from nowhere', 'x'), prepare('select $1', 'x')),
    say('in one batch', parse('select 3', 'y'), parse('select 4', 'y'), sync, use('y')),
    say('closed first', close('S', 'x'), parse('select 5', 'x'), sync, use('x')),
    say('strange', prepare('select 6', 'Ünïcode "x"'), prepare('select 7', 'Ünïcode "x"'), use('Ünïcode "x"')),
    end('x', 'y', 'Ünïcode "x"'),
  ]),
  transaction('names that are in use, in a transaction', [
    say('parse', prepare('select 1', 'x'), query('begin'), query('insert into notes values (1)')),
    hear('Z', 4),
    say('again', prepare('select 2', 'x'), use('x'), prepare('select 3', 'x'), prepare('select 1', 'z')),
    say('end', query('commit'), query('select count(*) from notes'), use('x')),
    say('unknown', query('begin'), query('insert into notes values (2)'), use('none'), describe('S', 'x'), sync),
    say('end', query('commit'), query('select count(*) from notes'), use('x')),
    end('x', 'z'),
  ]),
  conversation('errors that speak of a statement', [
    say('parse', prepare('select $1::int, $2::int', 'two'), prepare('select 1', 'one')),
    hear('Z', 3),
    say('count', use('two', '1'), use('one', '1'), use('two'), use('two', '1', '2', '3'), use('two', '1', '2')),
    say('unnamed', parse('select $1::int, $2::int'), sync, use('', '1')),
    say(
      'portal',
      bind({ statement: 'one' }),
      execute('gone'),
      sync,
      bind({ statement: 'two', values: ['x', '1'] }),
      sync,
    ),
    say('formats', use('two', 'x', '1'), use('two', '99999999999', '1')),
    end('one', 'two'),
  ]),
];

const deallocation: readonly Conversation[] = [
  conversation('DEALLOCATE of a name', [
    say('parse', prepare('select 1', 's'), prepare('select 2', 'S'), prepare('select 3', 'all')),
    hear('Z', 4),
    say('simple', query('deallocate s'), use('s'), use('S'), query('deallocate s'), query('deallocate prepare "S";')),
    say('gone', use('S'), query('deallocate "all"'), use('all'), query('deallocate none'), query('deallocate')),
    say('nonsense', prepare('select 4', 's'), query('deallocate s nonsense'), query('deallocate s.t'), use('s')),
    say('with another', query('select 5; deallocate none'), use('s')),
    end('s', 'S', 'all'),
  ]),
  conversation('DEALLOCATE of a name, extended', [
    say('parse', prepare('select 1', 's'), prepare('select 2', 't')),
    hear('Z', 3),
    say('run', extended('deallocate s'), sync, use('s'), use('t')),
    say('fails', extended('deallocate s'), sync, extended('deallocate nobody'), sync, use('t')),
    end('t'),
  ]),
  transaction('DEALLOCATE in a transaction', [
    say(
      'parse',
      prepare('select 1', 's'),
      query('begin'),
      query('deallocate s'),
      use('s'),
      query('rollback'),
      use('s'),
    ),
    say('failed', prepare('select 2', 's'), query('begin'), query('select 1/0'), query('deallocate s')),
    say('end', query('rollback'), use('s')),
    end('s'),
  ]),
  ...['deallocate all', 'deallocate prepare all', 'discard all'].flatMap((sql) => [
    conversation(`${sql}, pipelined before Parse`, [
      say('parse', prepare('select 1', 's'), prepare('select 2', 't')),
      hear('Z', 3),
      say('all', use('s'), query(sql), prepare('select 3', 's'), use('s'), use('t')),
      hear('Z', 8),
      say('again', query(sql), use('s'), prepare('select 4', 's'), query(sql), prepare('select 5', 's'), use('s')),
      end('s'),
    ]),
    conversation(`${sql}, extended`, [
      say('parse', prepare('select 1', 's'), prepare('select 2', 't')),
      hear('Z', 3),
      say('all', extended(sql), sync, prepare('select 3', 's'), use('s'), use('t')),
      hear('Z', 7),
      say(
        'prepared',
        prepare(sql, 'all'),
        use('s'),
        use('all'),
        use('s'),
        use('all'),
        prepare('select 4', 's'),
        use('s'),
      ),
      end('s', 'all'),
    ]),
  ]),
];

const pipelines: readonly Conversation[] = [
  conversation('Parse that fails, or is skipped, and its name', [
    say(
      'fails',
      parse('selekt', 'f'),
      bind({ statement: 'f' }),
      execute(),
      sync,
      use('f'),
      prepare('select 1', 'f'),
      use('f'),
    ),
    say('skipped', execute('none'), parse('select 2', 'k'), sync, use('k'), prepare('select 3', 'k'), use('k')),
    say('close skipped', execute('none'), close('S', 'k'), sync, use('k'), prepare('select 4', 'k')),
    say('close before the error', close('S', 'k'), execute('none'), sync, use('k')),
    say('parse before the error', parse('select 5', 'p'), execute('none'), sync, use('p')),
    end('f', 'k', 'p'),
  ]),
  conversation('one name, over and over in a pipeline', [
    say(
      'all',
      ...Array.from({ length: 12 }, (_, i) =>
        Buffer.concat([
          i % 3 === 2 ? execute('none') : Buffer.alloc(0),
          close('S', 'x'),
          parse(`select ${i}`, 'x'),
          i % 4 === 3 ? parse('select 0', 'x') : Buffer.alloc(0),
          sync,
          use('x'),
        ]),
      ),
    ),
    end('x'),
  ]),
  conversation('a statement used twice in a batch, and between Flushes', [
    say('all', parse('select $1::int', 's'), flush),
    hear('1'),
    say('use', bind({ statement: 's', values: ['1'] }), execute(), flush),
    hear('C'),
    say('use', bind({ statement: 's', values: ['2'] }), execute(), close('S', 's'), flush),
    hear('3'),
    say('gone', bind({ statement: 's', values: ['3'] }), execute(), sync, use('s')),
  ]),
  conversation('a table changes under a statement', [
    say('table', query('create temp table shifting as select 1 as a'), query('drop table shifting')),
    say('parse', query('alter table notes add column more int'), prepare('select * from notes', 'n'), use('n')),
    hear('Z', 5),
    say('change', query('alter table notes drop column more'), use('n')),
    hear('Z', 7),
    say('again', close('S', 'n'), prepare('select * from notes', 'n'), use('n')),
    end('n'),
  ]),
];

export const statementConversations = [...transactions, ...names, ...deallocation, ...pipelines];
