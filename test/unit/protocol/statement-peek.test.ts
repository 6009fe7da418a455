/** What the first words of SQL texts tell, and that they never tell too much. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  isWorthPeeking,
  NOTHING,
  PEEK_BYTES,
  peekStatement,
  type SessionState,
  type StatementPeek,
} from '../../../src/protocol/statement-peek.ts';

const HARMLESS: StatementPeek = { ...NOTHING, begins: [null] };
const DEALLOCATES: StatementPeek = { ...NOTHING, mayDeallocate: true };
const sets = (parameter: string): StatementPeek => ({ ...NOTHING, begins: [parameter] });
const makes = (state: SessionState): StatementPeek => ({ ...NOTHING, makes: state });
const deallocates = (name: string): StatementPeek => ({ ...DEALLOCATES, deallocates: name });

function expectPeeks(texts: readonly string[], peek: StatementPeek): void {
  for (const text of texts) expect(peekStatement(text), text).toEqual(peek);
}

describe('SET', () => {
  test('of the transaction is harmless', () => {
    const texts = [
      'SET LOCAL work_mem = 1',
      'set local role x',
      'SET LOCAL SESSION AUTHORIZATION x',
      'set transaction isolation level serializable',
      'SET SESSION TRANSACTION READ ONLY',
      'SET CONSTRAINTS ALL DEFERRED',
      ' \t\r\n\f\v;; ;set local x = 1 ;\n; ',
      '-- why;\n/* a /* b; */ ; /**/ */SET--\rlocal/**/x = 1',
      '/*/*/ */ set x = 1; */ set local x = 1',
    ];
    expectPeeks(texts, HARMLESS);
  });

  test.each([
    ['work_mem', ['SET work_mem = 1', 'set session work_mem to 1', 'SeT"work_mem"=1', 'set WORK_MEM = default']],
    ['timezone', ["SET TIME ZONE 'UTC'", 'set session time zone local', 'SET TimeZone = 1']],
    ['TimeZone', ['set "TimeZone" = 1']],
    ['client_encoding', ["SET NAMES 'utf8'"]],
    ['search_path', ["SET SCHEMA 'x'"]],
    ['local.x', ['SET local.x = 1', 'set session local.x = 1']],
    ['transaction.x', ['SET transaction.x = 1']],
    ['local', ['set "local" = 1']],
    ['\u00e9', ['set \u00e9 = 1']],
    ['\u00a0local', ['set \u00a0local = 1']],
    ['xml', ['set xml option document']],
  ])('of the session names its parameter: %s', (parameter, texts) => {
    expectPeeks(texts, sets(parameter));
  });

  test('of what a role or a name in several parts is says that it stays', () => {
    const texts = [
      'SET ROLE x',
      'set session role none',
      'SET "role" = x',
      'set "ROLE" = x',
      'SET SESSION AUTHORIZATION x',
      'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
      'set local . x = 1',
      'set local/**/.x = 1',
      'set "local".x = 1',
      'set timezone . x = 1',
      'set time.\n"zone" = 1',
      'set timezone."x" = 1',
      'set "session".x = 1',
    ];
    for (const text of texts) {
      const peek = peekStatement(text);
      const isHarmless = peek.begins.some((parameter) => parameter === null || /^timezone$/i.test(parameter));
      expect({ text, isHarmless }).toEqual({ text, isHarmless: false });
      if (!text.includes('time')) expect(peek, text).toEqual(makes('settings'));
    }
  });
});

describe('SET after SET', () => {
  test.each<[string, (string | null)[]]>([
    ['set local x = 1; set x = 1', [null, 'x']],
    ['set transaction read only;;set time zone 1;', [null, 'timezone']],
    ["set timezone = ';' ; set x = 1", ['timezone', 'x']],
    [`set timezone = "a;b";SET a = 'b''c;d', e; select 1; set x = 1`, ['timezone', 'a']],
    ['set a = 1 /* ; */; set x = 1', ['a']],
    ['set a = 1 -- ;\n; set x = 1', ['a']],
    ["set a = E'\\';'; set x = 1", ['a']],
    ['set a = $$;$$; set x = 1', ['a']],
    ["set a = ';; set x = 1", ['a']],
    ['set a = 1; declare c cursor for select 1', ['a']],
  ])('%s', (text, begins) => {
    expect(peekStatement(text)).toEqual({ ...NOTHING, begins });
  });

  test('of what stays ends the series', () => {
    expect(peekStatement('set a = 1; set role x; set b = 1')).toEqual({ ...makes('settings'), begins: ['a'] });
  });
});

describe('DEALLOCATE', () => {
  test.each([
    ['s', ['DEALLOCATE s', 'deallocate prepare S;', ';deallocate/**/"s" -- end']],
    ['S', ['deallocate "S"', 'deallocate prepare "S"']],
    ['all', ['deallocate "all"', 'DEALLOCATE PREPARE "all"']],
    ['prepare', ['deallocate prepare', 'deallocate "prepare"', 'deallocate prepare prepare']],
    ['a"b;', ['deallocate "a""b;"']],
  ])('of %s', (name, texts) => {
    expectPeeks(texts, deallocates(name));
  });

  test('of all, or of what it does not understand', () => {
    const texts = [
      'deallocate all',
      'DEALLOCATE PREPARE ALL ;',
      'deallocate',
      'deallocate s nonsense',
      'deallocate s, t',
      'deallocate s; select 1',
      'deallocate U&"s"',
      `deallocate ${'x'.repeat(64)}`,
      'discard all',
      'DISCARD PLANS',
    ];
    expectPeeks(texts, DEALLOCATES);
  });
});

describe('what stays in a session', () => {
  test.each<[SessionState, string[]]>([
    ['listen', ['LISTEN c', 'listen "c"; select 1']],
    ['library', ["LOAD 'x'", "/* */ load 'x'"]],
    ['prepared', ['PREPARE s AS SELECT 1', 'prepare "transaction" as select 1', 'prepare s (int) as select $1']],
    [
      'cursors',
      [
        'DECLARE c CURSOR WITH HOLD FOR SELECT 1',
        'declare "a b" binary insensitive no scroll cursor with/**/hold for select 1',
        'declare c scroll cursor with--\nhold for select 1; select 2',
      ],
    ],
    [
      'temporary',
      [
        'CREATE TEMP TABLE t ()',
        'create temporary table t as select 1',
        'create local temp table t ()',
        'create global temporary sequence s',
        'create or replace temp view v as select 1',
        'create or replace temporary recursive view v (n) as select 1',
        'create temp table t () on commit delete rows',
        "create temp table t as select 'on commit drop'",
        'create temp table t as select 1 -- on commit drop',
        'create temp table t as select 1 /* on commit drop */',
        'create temp table t () on commit drop; create temp table u ()',
      ],
    ],
  ])('%s', (state, texts) => {
    expectPeeks(texts, makes(state));
  });

  test('is not what ends with its transaction', () => {
    const texts = [
      'DECLARE c CURSOR FOR SELECT 1',
      'declare c no scroll cursor for select hold from t',
      'declare c cursor without hold for select 1;',
      'declare c cursor for select 1; select 2',
      "declare c cursor for select ';'",
    ];
    expectPeeks(texts, HARMLESS);
  });

  test('is for its tag to say where the text says nothing', () => {
    const texts = [
      '',
      ';',
      'select 1',
      "prepare transaction 'x'",
      "prepare transaction 'x'; set work_mem = 1",
      'prepare transaction as select 1',
      'create table t ()',
      'create table pg_temp.t ()',
      'create temp table t (a int) on commit drop',
      'declare',
      '/* never ends',
      '/* never ends; set local x = 1',
      '-- set local x = 1',
      'set\u00a0local x = 1',
      '(set local x = 1)',
    ];
    expectPeeks(texts, NOTHING);
  });
});

describe('a text that is not seen to its end', () => {
  test('tells nothing that a second statement could belie', () => {
    const text = 'deallocate s --';
    expect(peekStatement(text.padEnd(PEEK_BYTES - 1, '1'))).toEqual(deallocates('s'));
    expect(peekStatement(text.padEnd(PEEK_BYTES, '1'))).toEqual(DEALLOCATES);
  });

  test.each(['set local x = 1', 'set timezone = 1', 'declare c cursor for select 1'])(
    'tells of its first: %s',
    (text) => {
      expect(peekStatement(text.padEnd(PEEK_BYTES, '1'))).toEqual(peekStatement(text));
    },
  );

  test('tells nothing of a word that may be longer, or have a dot behind it', () => {
    for (const text of ['set timezone', 'set local', 'set session transaction', 'set time', 'declare c cursor for']) {
      const cut = text.padStart(PEEK_BYTES, ' ');
      expect(peekStatement(cut).begins, text).toEqual([]);
      expect(peekStatement(`${cut.slice(1)} `).begins, text).toEqual([]);
    }
    const series = 'set timezone = 1;set local'.padStart(PEEK_BYTES, ' ');
    expect(peekStatement(series)).toEqual({ ...NOTHING, begins: ['timezone'] });
  });

  test('is one that ends with a NUL in time', () => {
    expect(peekStatement('set local x = 1\0; set x = 1'.padEnd(PEEK_BYTES, '\0'))).toEqual(HARMLESS);
    expect(peekStatement('set local x = 1;\0set x = 1')).toEqual(HARMLESS);
  });
});

describe('whatever the text', () => {
  const piece = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('set', 'local', 'session', 'time', 'zone', 'prepare', 'transaction') },
    { weight: 4, arbitrary: fc.constantFrom('declare', 'c', 'cursor', 'with', 'hold', 'for', 'deallocate', 'discard') },
    { weight: 2, arbitrary: fc.constantFrom('create', 'temp', 'table', 'on', 'commit', 'drop', 'or', 'replace') },
    {
      weight: 6,
      arbitrary: fc.constantFrom(' ', '\n', '\r', '\t', '\u00a0', '--', '/*', '*/', '/', '*', '.', '=', ';'),
    },
    { weight: 3, arbitrary: fc.constantFrom("'", '"', '""', '$$', 'E', 'U&', '\\', '\0', '\u00ff', ',', '(', ')') },
    { weight: 1, arbitrary: fc.string({ maxLength: 3 }) },
  );
  const text = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(''));

  test('it does not throw, and tells of no more statements than there are', () => {
    fc.assert(
      fc.property(text, (sql) => {
        const { begins, deallocates: name } = peekStatement(sql);
        expect(begins.length + (name === null ? 0 : 1)).toBeLessThanOrEqual(statementsIn(sql));
        if (name !== null) expect(statementsIn(sql)).toBe(1);
      }),
      { numRuns: 20_000, seed: 3 },
    );
  });

  test('what it tells of a series is true of the statements in their order', () => {
    const known: readonly (readonly [string, string | null | undefined])[] = [
      ['set local x = 1', null],
      ["set timezone = ';set x = 1;'", 'timezone'],
      [`set "a" = ";" , 'b''c'`, 'a'],
      ["set e = E'\\'; set local x = '", 'e'],
      ['set d = $$; set local x = $$', 'd'],
      ['set c = 1 /* ; set local x = 1; */', 'c'],
      ['set m = 1 - 1 / 1 -- ; set local x = 1;\n', 'm'],
      ['set role x', undefined],
      ['select 1', undefined],
    ];
    const statement = fc.constantFrom(...known);
    const separator = fc.constantFrom(';', '; ', ' ;;\n', '; /* a; */ ', ';--;\n');
    fc.assert(
      fc.property(fc.array(fc.tuple(statement, separator), { maxLength: 6 }), (parts) => {
        const { begins } = peekStatement(parts.map(([[sql], end]) => sql + end).join(''));
        expect(begins).toEqual(parts.slice(0, begins.length).map(([[, begin]]) => begin));
      }),
      { numRuns: 5000, seed: 4 },
    );
  });

  test('one that can tell something is looked at', () => {
    fc.assert(
      fc.property(text, (sql) => {
        const bytes = Buffer.from(sql, 'latin1');
        if (!isWorthPeeking(bytes, 0, bytes.length)) expect(peekStatement(sql)).toEqual(NOTHING);
      }),
      { numRuns: 10_000, seed: 5 },
    );
  });

  test('what most texts begin with is not', () => {
    for (const word of ['select 1', 'SELECT', 'insert', 'update', 'delete', 'DROP', 'begin', 'with', 'show', 'do ']) {
      const bytes = Buffer.from(word);
      expect(isWorthPeeking(bytes, 0, bytes.length), word).toBe(false);
    }
  });
});

/** Statements of a text, at least: what stands between two semicolons outside of comments, without regard to quotes. */
function statementsIn(sql: string): number {
  let bare = '';
  let depth = 0;
  const end = sql.indexOf('\0');
  const whole = end < 0 ? sql : sql.slice(0, end);
  for (let at = 0; at < whole.length; at++) {
    const two = whole.slice(at, at + 2);
    if (depth === 0 && two === '--') {
      while (at + 1 < whole.length && !'\r\n'.includes(whole[at + 1]!)) at++;
      bare += ' ';
    } else if (two === '/*') {
      depth++;
      at++;
    } else if (depth > 0 && two === '*/') {
      depth--;
      at++;
    } else if (depth === 0) bare += whole[at]!;
  }
  return bare.split(';').filter((statement) => /[^ \t\n\r\f\v]/.test(statement)).length;
}
