import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseUserList, type UserList } from '../../../src/auth/user-list.ts';

/** Name → what is stored, as the text of the secrets in this file. */
function plainUsers(list: UserList): Record<string, string> {
  const users: [string, string][] = [];
  for (const name of list.userNames()) {
    const secret = list.lookup(name);
    users.push([name, secret?.kind === 'plain' ? secret.password : `(${secret?.kind})`]);
  }
  return Object.fromEntries(users);
}

function quote(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

describe('parseUserList', () => {
  test('an ordinary file', () => {
    const verifier = `SCRAM-SHA-256$4096:QQ==$${Buffer.alloc(32).toString('base64')}:${Buffer.alloc(32).toString('base64')}`;
    const list = parseUserList(
      [
        '; users',
        '',
        '  ; indented',
        '"alice" "pencil"',
        `"bob" "${verifier}"`,
        `"carol" "md5${'0'.repeat(32)}" x`,
      ].join('\n'),
    );
    expect(plainUsers(list)).toEqual({ alice: 'pencil', bob: '(scram)', carol: '(md5)' });
    expect(list.size).toBe(3);
    expect(list.problems).toEqual([]);
    expect(list.problemCount).toBe(0);
    expect(list.lookup('nobody')).toBeNull();
    expect(list.lookup('Alice')).toBeNull();
  });

  // PgBouncer 1.18 lets in whom these name, and nobody else.
  test.each<[string, Record<string, string>, string]>([
    ['"a" "b"', { a: 'b' }, 'no newline at the end'],
    ['"a" "b"\r\n"c" "d"\r\n', { a: 'b', c: 'd' }, 'CRLF'],
    ['"a" "b"\r\n\r\n', { a: 'b' }, 'an empty CRLF line'],
    ['"a" , x "b"', { a: 'b' }, 'other text between the strings'],
    ['"a""b"', {}, 'a doubled quote instead of a space: the secret is missing'],
    ['"a"  "p ""w" tail "x"', { a: 'p "w' }, 'a doubled quote in the secret, and a tail'],
    ['"q""q""" "b"', { 'q"q"': 'b' }, 'doubled quotes in the name'],
    ['\t "a" "b"', { a: 'b' }, 'space in front'],
    ['"a" ""', { a: '' }, 'an empty secret'],
    ['"a" "b"\n"a" "c"', { a: 'c' }, 'two lines for one user: the later counts'],
    ['"a" "b;c" ; "d"', { a: 'b;c' }, 'a semicolon that begins no line'],
    ['"a" """"', { a: '"' }, 'a secret of one quote'],
    ['"a" "b"x', { a: 'b' }, 'no space after the secret'],
  ])('%j → %j: %s', (text, users) => {
    expect(plainUsers(parseUserList(text))).toEqual(users);
  });

  test('a byte order mark is not part of the first line', () => {
    const list = parseUserList('\ufeff"a" "b"\n');
    expect(plainUsers(list)).toEqual({ a: 'b' });
    expect(list.problems).toEqual([]);
  });

  test.each(['', '\n', '\n\n\r\n', '\ufeff', '; only this', '   '])('%j holds nothing and is not broken', (text) => {
    const list = parseUserList(text);
    expect(list.size).toBe(0);
    expect(list.problemCount).toBe(0);
  });

  test.each([
    ['alice "pencil"', 'no quotes'],
    ['alice" "pencil"', 'no quote in front'],
    ['"alice', 'a truncated name'],
    ['"alice"', 'a truncated line'],
    ['"alice" pencil', 'a secret without quotes'],
    ['"alice" "pen', 'a truncated secret'],
    ['"alice" "pen""', 'a truncated doubled quote'],
    ['"" "pencil"', 'an empty name'],
    [`"${'a'.repeat(128)}" "pencil"`, 'a long name'],
    [`"${'ä'.repeat(64)}" "pencil"`, 'a name that is long in bytes'],
    [`"alice" "${'a'.repeat(65_531)}"`, 'a long secret'],
    ['"al\0ice" "pencil"', 'a NUL in the name'],
    ['"alice" "pen\0cil"', 'a NUL in the secret'],
  ])('a broken line is left out, the others count (%#)', (line) => {
    const list = parseUserList(`"first" "1"\n\n${line}\n"last" "2"\n`);
    expect(plainUsers(list)).toEqual({ first: '1', last: '2' });
    expect(list.problems).toMatchObject([{ line: 3, kind: 'broken' }]);
    expect(list.problemCount).toBe(1);
    // Nothing of what a line says: the next message may be the one of a mistyped password.
    expect(list.problems[0]!.message).not.toMatch(/alice|pen|cil|aaaa|ä/);
  });

  test('the longest name and secret are taken', () => {
    const list = parseUserList(`"${'a'.repeat(127)}" "${'b'.repeat(65_530)}"`);
    expect(list.problems).toEqual([]);
    expect(list.lookup('a'.repeat(127))).toEqual({ kind: 'plain', password: 'b'.repeat(65_530) });
  });

  test("a forgotten secret does not make the next line's user name a password", () => {
    const list = parseUserList('"alice"\n"bob" "secret"\n');
    expect(plainUsers(list)).toEqual({ bob: 'secret' });
    expect(list.problems).toEqual([{ line: 1, kind: 'broken', message: 'the secret in double quotes is missing' }]);
  });

  test('a duplicate is reported where it replaces', () => {
    const list = parseUserList('"a" "one"\n; x\n"a" "two"\n');
    expect(list.problems).toMatchObject([{ line: 3, kind: 'duplicate' }]);
    expect(list.problems[0]!.message).not.toMatch(/one|two/);
  });

  test('problems are counted, but not all kept', () => {
    const list = parseUserList('broken\n'.repeat(5_000));
    expect(list.problems).toHaveLength(100);
    expect(list.problemCount).toBe(5_000);
  });

  test('names that an object would trip over', () => {
    const list = parseUserList('"__proto__" "a"\n"constructor" "b"\n');
    expect([...list.userNames()]).toEqual(['__proto__', 'constructor']);
    expect(list.lookup('__proto__')).toEqual({ kind: 'plain', password: 'a' });
    expect(list.lookup('toString')).toBeNull();
  });

  test('what PgBouncer would write is read back', () => {
    const word = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => !/[\0\n]/.test(text));
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(word, word), { selector: ([name]) => name, maxLength: 8 }), (users) => {
        const list = parseUserList(users.map(([name, secret]) => `${quote(name)} ${quote(secret)}\r\n`).join(''));
        expect([...list.userNames()]).toEqual(users.map(([name]) => name));
        for (const [name, secret] of users) expect(list.lookup(name)).toEqual({ kind: 'plain', password: secret });
        expect(list.problemCount).toBe(0);
      }),
    );
  });

  test('any text is read without an exception, and every line is a user, a problem or a comment', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(fc.constantFrom('"', '""', 'a', ' ', '\n', '\r\n', ';', '\0', '\ufeff')).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (file) => {
        const list = parseUserList(file);
        expect(list.size + list.problemCount).toBeLessThanOrEqual(file.split('\n').length);
        for (const { line } of list.problems) expect(line).toBeLessThanOrEqual(file.split('\n').length);
      }),
    );
  });

  test('a million lines take about a second at most', () => {
    const key = Buffer.alloc(32, 7).toString('base64');
    const lines: string[] = [];
    for (let i = 0; i < 1_000_000; i++) lines.push(`"user_${i}" "SCRAM-SHA-256$4096:c2FsdA==$${key}:${key}"`);
    const file = lines.join('\n');
    const before = process.cpuUsage();
    const list = parseUserList(file);
    const { user, system } = process.cpuUsage(before);
    expect(list.size).toBe(1_000_000);
    expect(list.lookup('user_999999')).toMatchObject({ kind: 'scram' });
    // 0.75 s when the machine is quiet. Tests run beside each other, where the same work was seen to cost twice that.
    expect((user + system) / 1e6).toBeLessThan(2);
  });

  test.each(['"', '"a', '"a"', '"a" "', '"a" "b""', '""'])('a long file of %j lines takes no time', (line) => {
    const file = `${line}\n`.repeat(100_000) + 'x'.repeat(1_000_000);
    const before = process.cpuUsage();
    parseUserList(file);
    expect(process.cpuUsage(before).user / 1e6).toBeLessThan(2);
  });
});

describe('usualKind', () => {
  const scram = '"s" "SCRAM-SHA-256$';
  test.each([
    ['', 'plain'],
    ['"a" "x"\n"b" "y"', 'plain'],
    [`${scram}1"\n"b" "SCRAM-SHA-256$2"\n"c" "x"`, 'scram'],
    [`"a" "md5x"\n"b" "md5y"\n${scram}1"`, 'md5'],
    [`${scram}1"\n"b" "x"`, 'plain'],
  ])('%j: %s', (text, kind) => {
    expect(parseUserList(text).usualKind).toBe(kind);
  });
});
