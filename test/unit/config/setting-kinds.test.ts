import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TreeNode } from '../../../src/config/config-tree.ts';
import {
  address,
  boolean,
  choice,
  duration,
  hosts,
  integer,
  type Kind,
  listenAddresses,
  nameList,
  optional,
  path,
  size,
  text,
} from '../../../src/config/setting-kinds.ts';

const place = { file: null, line: null, column: null, path: null };

type Written = string | number | boolean | null | readonly string[];

/** As it comes from YAML: what is not quoted has its text. */
function node(value: Written): TreeNode {
  if (typeof value === 'object' && value !== null) return { kind: 'list', place, items: value.map(node) };
  return { kind: 'scalar', place, value, text: value === null ? null : String(value) };
}

function parse<T>(kind: Kind<T>, value: Written): T | string {
  const outcome = kind.parse(node(value), '/etc/pooler');
  return 'value' in outcome ? outcome.value : `! ${outcome.problem}`;
}

describe('boolean', () => {
  it.each([true, 'true', 'TRUE', 'yes', 'on', 1, '1'])('takes %j for true', (value) =>
    expect(parse(boolean, value)).toBe(true),
  );
  it.each([false, 'false', 'no', 'Off', 0, '0'])('takes %j for false', (value) =>
    expect(parse(boolean, value)).toBe(false),
  );
  it.each(['', 'maybe', 2, null, ['true']])('refuses %j', (value) => {
    expect(parse(boolean, value)).toMatch(/^! expected true or false, found /);
  });
});

describe('integer', () => {
  it.each([
    [0, 0],
    [65_535, 65_535],
    ['42', 42],
    ['007', 7],
  ])('takes %j', (written, value) => expect(parse(integer(0, 65_535), written)).toBe(value));

  it.each([
    '',
    ' 1',
    '1.0',
    '1e3',
    '0x10',
    '+1',
    '12345678901234567890',
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    true,
    null,
  ])('refuses %j', (value) => {
    expect(parse(integer(-10, 65_535), value)).toMatch(/^! expected a whole number from -10 to 65535, found /);
  });

  it('keeps to its limits', () => {
    expect(parse(integer(1, 3), 0)).toBe('! expected a whole number from 1 to 3, found 0');
    expect(parse(integer(1, 3), '4')).toBe('! expected a whole number from 1 to 3, found "4"');
    expect(parse(integer(0), -1)).toBe('! expected a whole number from 0, found -1');
    expect(parse(integer(0), 2_147_483_648)).toMatch(/^! /);
  });
});

describe('duration', () => {
  it.each([
    [15, 15_000],
    [0.5, 500],
    [0, 0],
    [0.57, 570], // 0.57 * 1000 is 569.9999999999999
    ['15', 15_000],
    ['.5', 500],
    ['15s', 15_000],
    ['500ms', 500],
    ['500 ms', 500],
    ['250us', 0.25],
    ['2min', 120_000],
    ['1.5h', 5_400_000],
    ['1d', 86_400_000],
    ['0.0000000001', 0.001], // never 0, which would mean something else
  ])('takes %j as %d ms', (written, value) => expect(parse(duration(), written)).toBe(value));

  it.each([
    '',
    's',
    '-1',
    '1 hour',
    '15S',
    '1m',
    '1e3',
    '1:30',
    '1..5',
    '1.',
    '1  s',
    -0.1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1e10,
    true,
    null,
    ['1'],
    '1constructor',
    '1toString',
  ])('refuses %j', (value) =>
    expect(parse(duration(), value)).toMatch(
      /^! expected seconds \(15, 0\.5\) or a number with us, ms, s, min, h or d/,
    ),
  );

  it('can have a least value', () => {
    expect(parse(duration(0.1), 0.1)).toBe(100);
    expect(parse(duration(0.1), 0)).toMatch(/at least 0\.1, found 0$/);
  });
});

describe('size', () => {
  const kind = size(1024, 0x3fffffff);

  it.each([
    [4096, 4096],
    ['4096', 4096],
    ['4096B', 4096],
    ['64kB', 65_536],
    ['1.5MB', 1_572_864],
    ['0.5 GB', 536_870_912],
  ])('takes %j as %d bytes', (written, value) => expect(parse(kind, written)).toBe(value));

  it.each([1023, '1GB', '64KB', '64k', '1.0001kB', -1, null, ''])('refuses %j', (value) => {
    expect(parse(kind, value)).toMatch(
      /^! expected bytes or a number with B, kB, MB or GB \(64kB, 1MB\), from 1024 to 1073741823 bytes, found /,
    );
  });
});

describe('choice', () => {
  const kind = choice(['plain', 'md5'], ['hba']);

  it('takes its words, in any case', () => {
    expect(parse(kind, 'md5')).toBe('md5');
    expect(parse(kind, 'MD5')).toBe('md5');
  });

  it('knows what is not supported yet', () => {
    expect(parse(kind, 'hba')).toBe('! PgBouncer\'s "hba" is not supported yet (supported: plain, md5)');
    expect(parse(kind, 'md4')).toBe('! expected one of plain, md5, found "md4"');
    expect(parse(kind, 'constructor')).toMatch(/^! expected one of/);
    expect(parse(kind, null)).toBe('! expected one of plain, md5, found nothing');
  });
});

describe('text', () => {
  it('takes what was written, even where YAML sees a number', () => {
    expect(text().parse({ kind: 'scalar', place, value: 83, text: '0123' }, '')).toEqual({ value: '0123' });
    expect(parse(text(), '')).toBe('');
  });

  it('refuses what has no text', () => {
    expect(text().parse({ kind: 'scalar', place, value: 5, text: null }, '')).toEqual({
      problem: 'expected text, found 5',
    });
    expect(parse(text(), ['a'])).toBe('! expected text, found a list');
  });

  it('counts bytes, not characters', () => {
    expect(parse(text({ maxBytes: 4 }), 'éé')).toBe('éé');
    expect(parse(text({ maxBytes: 4 }), 'ééé')).toBe('! expected at most 4 bytes, found 6');
  });

  it('refuses what cannot be sent to PostgreSQL', () => {
    expect(parse(text(), 'a\0b')).toBe('! a NUL character is not allowed');
    expect(parse(text(), 'a\ud800')).toBe('! half of a surrogate pair is not a character');
  });

  it('never shows a secret', () => {
    const secret = text({ secret: true, maxBytes: 3 });
    expect(secret.parse({ kind: 'scalar', place, value: 4711, text: null }, '')).toEqual({
      problem: 'expected text, found a number',
    });
    expect(parse(secret, 'hunter2')).toBe('! expected at most 3 bytes, found 7');
  });
});

describe('path', () => {
  it('starts at the folder of the configuration', () => {
    expect(parse(path, 'users.txt')).toBe('/etc/pooler/users.txt');
    expect(parse(path, '../users.txt')).toBe('/etc/users.txt');
    expect(parse(path, '/run/users.txt')).toBe('/run/users.txt');
    expect(parse(path, '~/users.txt')).toBe('/etc/pooler/~/users.txt');
  });

  it('refuses what no file is called', () => {
    expect(parse(path, '')).toMatch(/^! expected a path/);
    expect(parse(path, 'a\0')).toMatch(/NUL/);
  });
});

describe('a list of names', () => {
  it.each([
    ['', []],
    ['options', ['options']],
    [' extra_float_digits , options,', ['extra_float_digits', 'options']],
    [
      ['a.b', 'IntervalStyle'],
      ['a.b', 'IntervalStyle'],
    ],
  ])('takes %j', (written, value) => {
    expect(parse(nameList, written)).toEqual(value);
    expect(parse(nameList, nameList.format(value))).toEqual(value);
  });

  it('refuses what is no name', () => {
    expect(parse(nameList, null)).toMatch(/^! expected names, found /);
    expect(parse(nameList, 'a\0')).toMatch(/NUL/);
    expect(parse(nameList, 'x'.repeat(256))).toMatch(/at most 255 bytes/);
  });
});

describe('addresses', () => {
  it.each([
    ['127.0.0.1', ['127.0.0.1']],
    [' 127.0.0.1 , ::1 ', ['127.0.0.1', '::1']],
    ['[::1],localhost', ['::1', 'localhost']],
    ['fe80::1%eth0', ['fe80::1%eth0']],
    ['db-1.internal.', ['db-1.internal.']],
    ['bücher.example', ['bücher.example']],
    [
      ['a', 'b_c'],
      ['a', 'b_c'],
    ],
    ['/run/postgresql,b', ['/run/postgresql', 'b']],
    [`/${'x'.repeat(91)}`, [`/${'x'.repeat(91)}`]],
  ])('takes %j', (written, value) => expect(parse(hosts, written)).toEqual(value));

  it.each([
    [
      'a,@abstract',
      'abstract Unix sockets (names that begin with @) cannot be reached from Node as libpq reaches them',
    ],
    [`/${'x'.repeat(92)}`, "the path of the folder is too long: with the socket's name it passes 107 bytes"],
    ['', 'expected a host name or an address, found ""'],
    ['a,', 'expected a host name or an address, found ""'],
    ['a b', 'expected a host name or an address, found "a b"'],
    ['a\nb', 'expected a host name or an address, found "a\\nb"'],
    ['db:5433', 'expected a host name or an address, found "db:5433" (the port is a setting of its own)'],
    ['[::1]:5433', 'expected a host name or an address, found "[::1]:5433"'],
    ['a,b,a', '"a" is given twice'],
    ['*', 'expected host names or addresses, found "*"'],
    [[], 'expected at least one address, found a list'],
    [null, 'expected host names or addresses, found nothing'],
    ['a'.repeat(256), `expected a host name or an address, found "${'a'.repeat(60)}…"`],
  ])('refuses %j', (written, problem) => expect(parse(hosts, written)).toBe(`! ${problem}`));

  it('can all be listened to', () => {
    expect(parse(listenAddresses, '*')).toEqual(['*']);
    expect(parse(listenAddresses, '*, ::1')).toBe('! "*" already stands for all addresses');
    expect(parse(address, '*')).toBe('*');
    expect(parse(address, 'a,b')).toMatch(/^! expected a host name/);
  });

  it('are judged in time that grows with their length only', () => {
    const started = performance.now();
    for (const letter of [':', '[', ' ', 'a.', ',:', '%']) parse(hosts, letter.repeat(200_000));
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

describe('optional', () => {
  it('takes nothing and an empty text for null', () => {
    expect(parse(optional(integer(0)), null)).toBeNull();
    expect(parse(optional(integer(0)), 0)).toBe(0);
    expect(parse(optional(integer(0)), '')).toBeNull();
    expect(parse(optional(integer(0)), ' ')).toMatch(/^! /);
    expect(parse(optional(text()), '')).toBeNull();
    expect(parse(optional(path), '')).toBeNull();
    expect(optional(text()).format(null)).toBe('');
  });
});

describe('every kind', () => {
  const kinds: [string, Kind<unknown>, fc.Arbitrary<Written>][] = [
    ['boolean', boolean, fc.boolean()],
    ['integer', integer(-5, 70_000), fc.integer({ min: -5, max: 70_000 })],
    ['duration', duration(), fc.double({ min: 0, max: 1e9, noNaN: true })],
    ['size', size(0, 2 ** 40), fc.integer({ min: 0, max: 2 ** 40 })],
    ['choice', choice(['a', 'b-c']), fc.constantFrom('a', 'b-c')],
    ['text', text(), fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0'))],
    ['hosts', hosts, fc.uniqueArray(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()), { minLength: 1 })],
  ];

  it.each(kinds)('reads back what it has written: %s', (_name, kind, values) => {
    fc.assert(
      fc.property(values, (written) => {
        const outcome = kind.parse(node(written), '/');
        if ('problem' in outcome) throw new Error(outcome.problem);
        if (kind.type !== 'duration') expect(outcome.value).toEqual(written); // durations are rounded, once
        expect(kind.parse(node(kind.format(outcome.value)), '/')).toEqual(outcome);
      }),
    );
  });
});
