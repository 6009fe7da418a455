/** Names, values and wishes that the clients and servers of a pool share. */
import { describe, expect, test } from 'vitest';
import { ParameterTable, type Values } from '../../../src/server/parameter-table.ts';
import { foldName, Wishes } from '../../../src/server/wishes.ts';

const EMPTY: Values = [];

describe('names', () => {
  test('are what servers report, in their spelling, found without case', () => {
    const table = new ParameterTable();
    expect(table.find('DateStyle')).toBe(-1);
    expect(table.learn('DateStyle')).toBe(0);
    expect(table.learn('ext.Mode')).toBe(1);
    expect(table.learn('datestyle')).toBe(0);
    expect([table.find('DATESTYLE'), table.find('EXT.mode'), table.find('search_path')]).toEqual([0, 1, -1]);
    expect(table.find('__proto__')).toBe(-1);
    expect([table.name(0), table.name(1), table.size]).toEqual(['DateStyle', 'ext.Mode', 2]);
  });

  test('fold only A to Z, as in PostgreSQL', () => {
    expect(foldName('TimeZone')).toBe('timezone');
    expect(foldName('Ä')).toBe('Ä');
  });

  test('that say what the server is have no place', () => {
    const table = new ParameterTable();
    for (const name of ['server_version', 'server_encoding', 'integer_datetimes', 'in_hot_standby']) {
      expect(table.learn(name)).toBe(-1);
    }
    for (const name of ['is_superuser', 'session_authorization', 'SERVER_VERSION']) expect(table.learn(name)).toBe(-1);
    expect(table.size).toBe(0);
  });

  test('have a bound, whatever a server makes up', () => {
    const table = new ParameterTable();
    for (let i = 0; i < 10_000; i++) table.learn(`x.${i}`);
    expect(table.size).toBe(100);
    expect(table.find('x.99')).toBe(99);
    expect(table.find('x.100')).toBe(-1);
  });
});

describe('wishes', () => {
  test('that are equal are the same, if names differ in case only', () => {
    const table = new ParameterTable();
    const one = table.wishes([{ name: 'work_mem', value: '1MB' }]);
    expect(table.wishes([{ name: 'WORK_MEM', value: '1MB' }])).toBe(one);
    expect(table.wishes([{ name: 'work_mem', value: '1mb' }])).not.toBe(one);
    expect(table.wishes([])).toBe(Wishes.NONE);
  });

  test('cannot be mixed up by what is in them', () => {
    const table = new ParameterTable();
    const one = table.wishes([
      { name: 'a', value: 'b' },
      { name: 'c', value: 'd' },
    ]);
    for (const value of ['b\u0001c\u0001d', 'b,c=d', 'b c d'])
      expect(table.wishes([{ name: 'a', value }])).not.toBe(one);
  });

  test('that are doubted are like none, and name all that may be set', () => {
    const table = new ParameterTable();
    const known = table.wishes([{ name: 'a', value: '1' }]);
    const doubted = Wishes.either(known, table.wishes([{ name: 'b', value: '2' }]));
    expect([known.areKnown, doubted.areKnown]).toEqual([true, false]);
    expect([...doubted].map(({ name }) => name)).toEqual(['a', 'b']);
  });

  test('keep the last value of a name, at its place', () => {
    const wishes = Wishes.of([
      { name: 'role', value: 'x' },
      { name: 'work_mem', value: '1MB' },
      { name: 'ROLE', value: 'y' },
    ]);
    expect([...wishes]).toEqual([
      { name: 'work_mem', value: '1MB' },
      { name: 'ROLE', value: 'y' },
    ]);
    expect(wishes.get('Work_Mem')).toBe('1MB');
  });

  test('of many kinds are forgotten in their order', () => {
    const table = new ParameterTable();
    const first = table.wishes([{ name: 'a', value: 'first' }]);
    for (let i = 0; i < 1000; i++) table.wishes([{ name: 'a', value: String(i) }]);
    expect(table.wishes([{ name: 'a', value: 'first' }])).not.toBe(first);
  });
});

describe('values', () => {
  test('that are equal are the same, and none is changed', () => {
    const table = new ParameterTable();
    const one = table.with([], 1, 'x');
    expect(one).toEqual([null, 'x']);
    expect(table.with(table.with([], 0, null), 1, 'x')).toBe(one);
    expect(table.with(one, 0, 'y')).toEqual(['y', 'x']);
    expect(one).toEqual([null, 'x']);
  });

  test('cannot be mixed up by what is in them', () => {
    const table = new ParameterTable();
    const lists = [['a', 'b'], ['a","b'], ['a,b'], [null, 'a'], ['null', 'a'], ['\0', 'a'], ['', 'a']];
    const made = lists.map((list) => list.reduce((values, value, place) => table.with(values, place, value), EMPTY));
    expect(made).toEqual(lists);
    expect(new Set(made).size).toBe(lists.length);
  });

  test('of many kinds, and very long ones, are forgotten', () => {
    const table = new ParameterTable();
    const first = table.with([], 0, 'first');
    for (let i = 0; i < 1000; i++) table.with([], 0, String(i));
    expect(table.with([], 0, 'first')).not.toBe(first);
    expect(table.with([], 0, 'x'.repeat(20_000))).not.toBe(table.with([], 0, 'x'.repeat(20_000)));
  });
});
