import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConnectionString } from '../../../src/config/connection-string.ts';

function parse(text: string): [string, string][] | string {
  const parsed = parseConnectionString(text);
  return 'problem' in parsed ? parsed.problem : parsed.parameters.map(({ key, value }) => [key, value]);
}

function quoted(value: string): string {
  return `'${value.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
}

describe('key=value', () => {
  it.each<[string, [string, string][]]>([
    ['', []],
    ['  ', []],
    [
      'host=a port=5432',
      [
        ['host', 'a'],
        ['port', '5432'],
      ],
    ],
    [
      'host = a\n\tport= 5432 ',
      [
        ['host', 'a'],
        ['port', '5432'],
      ],
    ],
    [
      "password='two words' user=u",
      [
        ['password', 'two words'],
        ['user', 'u'],
      ],
    ],
    [String.raw`password='it\'s \\ ''here'''`, [['password', String.raw`it's \ 'here'`]]],
    [String.raw`password=two\ words\\`, [['password', 'two words\\']]],
    ["connect_query=''", [['connect_query', '']]],
    ["connect_query='set a = ''x'''", [['connect_query', "set a = 'x'"]]],
    ['password=a=b', [['password', 'a=b']]],
    ['host=', [['host', '']]],
    [
      "a='x'b=y",
      [
        ['a', 'x'],
        ['b', 'y'],
      ],
    ],
  ])('takes %j apart', (text, parameters) => expect(parse(text)).toEqual(parameters));

  it.each([
    ['hunter2', 'expected key=value at character 1 (a value with spaces needs single quotes)'],
    ['password=my hunter2 host=b', 'expected key=value at character 13 (a value with spaces needs single quotes)'],
    ['host=a =b', 'expected key=value at character 8 (a value with spaces needs single quotes)'],
    ["password='hunter2", 'the quote at character 10 is never closed'],
    ["password='hunter2\\'", 'the quote at character 10 is never closed'],
  ])('refuses %j', (text, problem) => expect(parse(text)).toBe(problem));

  it('gives back what was quoted', () => {
    const pairs = fc.array(fc.tuple(fc.stringMatching(/^[a-z_]{1,9}$/), fc.string({ unit: 'binary' })));
    fc.assert(
      fc.property(pairs, (parameters) => {
        expect(parse(parameters.map(([key, value]) => `${key}=${quoted(value)}`).join(' '))).toEqual(parameters);
      }),
    );
  });
});

describe('a URL', () => {
  it.each<[string, [string, string][]]>([
    ['postgres://', []],
    ['postgresql://h', [['host', 'h']]],
    [
      'postgres://u:p@h:5433/db',
      [
        ['user', 'u'],
        ['password', 'p'],
        ['host', 'h'],
        ['port', '5433'],
        ['dbname', 'db'],
      ],
    ],
    [
      'postgres://u@h/',
      [
        ['user', 'u'],
        ['host', 'h'],
      ],
    ],
    [
      'postgres://u:@h',
      [
        ['user', 'u'],
        ['password', ''],
        ['host', 'h'],
      ],
    ],
    [
      'postgres://%75:p%40%2F%25@h/d%62',
      [
        ['user', 'u'],
        ['password', 'p@/%'],
        ['host', 'h'],
        ['dbname', 'db'],
      ],
    ],
    [
      'postgres://u:a:b@c@h',
      [
        ['user', 'u'],
        ['password', 'a:b@c'],
        ['host', 'h'],
      ],
    ],
    [
      'postgres://[::1]:5433/db',
      [
        ['host', '[::1]'],
        ['port', '5433'],
        ['dbname', 'db'],
      ],
    ],
    ['postgres://[::1]', [['host', '[::1]']]],
    [
      'postgres://h1,h2,[::1]/db',
      [
        ['host', 'h1,h2,[::1]'],
        ['dbname', 'db'],
      ],
    ],
    [
      'postgres://h1:5433,h2:5433/db',
      [
        ['host', 'h1,h2'],
        ['port', '5433'],
        ['dbname', 'db'],
      ],
    ],
    [
      'postgres://:5433/db',
      [
        ['port', '5433'],
        ['dbname', 'db'],
      ],
    ],
    [
      'postgres:///db?host=h&pool_mode=transaction',
      [
        ['dbname', 'db'],
        ['host', 'h'],
        ['pool_mode', 'transaction'],
      ],
    ],
    [
      'postgres://h?connect_query=select%201&&user=a+b',
      [
        ['host', 'h'],
        ['connect_query', 'select 1'],
        ['user', 'a+b'],
      ],
    ],
    [
      'postgres://h/db?password=a=b#c',
      [
        ['host', 'h'],
        ['dbname', 'db'],
        ['password', 'a=b#c'],
      ],
    ],
  ])('takes %j apart', (text, parameters) => expect(parse(text)).toEqual(parameters));

  it.each([
    ['mysql://u:hunter2@h', 'expected a URL that starts with postgres://'],
    ['postgres://u:hun/ter2@h', '"@" comes after "/" or "?": special characters must be percent-encoded'],
    ['postgres://u:hun?ter2@h', '"@" comes after "/" or "?": special characters must be percent-encoded'],
    ['postgres://u:hunter2', 'the port is not a number (special characters must be percent-encoded)'],
    ['postgres://h:123456', 'the port is not a number (special characters must be percent-encoded)'],
    ['postgres://::1', 'the port is not a number (special characters must be percent-encoded)'],
    ['postgres://[::1', 'expected host or host:port (an IPv6 address needs brackets)'],
    ['postgres://[::1]x', 'expected host or host:port (an IPv6 address needs brackets)'],
    ['postgres://h1:1,h2:2', 'all hosts must have the same port'],
    ['postgres://h1,h2:2', 'all hosts must have the same port'],
    ['postgres://u:hun%ter2@h', '"%" is not followed by the code of a character in UTF-8 (a "%" itself is "%25")'],
    ['postgres://u:%ff@h', '"%" is not followed by the code of a character in UTF-8 (a "%" itself is "%25")'],
    ['postgres://h?pool_size', 'a parameter after "?" has no value'],
  ])('refuses %j', (text, problem) => expect(parse(text)).toBe(problem));

  it('gives back what was encoded', () => {
    const word = fc.string({ unit: 'grapheme', minLength: 1 });
    fc.assert(
      fc.property(word, word, word, (user, password, dbname) => {
        const encoded = [user, password, dbname].map(encodeURIComponent);
        expect(parse(`postgres://${encoded[0]}:${encoded[1]}@h/${encoded[2]}`)).toEqual([
          ['user', user],
          ['password', password],
          ['host', 'h'],
          ['dbname', dbname],
        ]);
      }),
    );
  });
});

describe('any text', () => {
  it('is taken apart or refused, and no part of it is shown', () => {
    const pieces = fc.constantFrom(
      'postgres://',
      '=',
      ' ',
      "'",
      '\\',
      '@',
      ':',
      '/',
      '?',
      '&',
      '%',
      ',',
      '[',
      ']',
      'SECRET',
    );
    fc.assert(
      fc.property(fc.array(pieces), fc.boolean(), (parts, isUrl) => {
        const parsed = parseConnectionString((isUrl ? 'postgres://' : '') + parts.join(''));
        if ('problem' in parsed) expect(parsed.problem).not.toContain('SECRET');
      }),
      { numRuns: 5000 },
    );
  });

  it('takes time that grows with its length only', () => {
    const started = performance.now();
    for (const piece of ["'", "\\'", '=', 'a=b ', '@', ':', '[', ',', '%', '&', 'a:1,', ' ']) {
      parseConnectionString(piece.repeat(200_000));
      parseConnectionString(`postgres://${piece.repeat(200_000)}`);
    }
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
