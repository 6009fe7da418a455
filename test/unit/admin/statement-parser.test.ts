/** How console statements are cut into words. */
import { describe, expect, test } from 'vitest';
import { parseStatements } from '../../../src/admin/statement-parser.ts';

const wordsOf = (sql: string) => parseStatements(sql).map(({ words }) => words?.map(({ text }) => text) ?? null);

describe('statements', () => {
  test.each<[string, (string[] | null)[]]>([
    ['', []],
    [' ;; \n;', []],
    ['-- ping', []],
    ['/* a */ show /* b */ stats -- c', [['show', 'stats']]],
    ['SHOW POOLS;', [['SHOW', 'POOLS']]],
    ['pause; resume', [['pause'], ['resume']]],
    ['pause "my db"', [['pause', 'my db']]],
    ['pause "a""b;c"', [['pause', 'a"b;c']]],
    [
      "set x = 'it''s; so'; show version",
      [
        ['set', 'x', '=', "it's; so"],
        ['show', 'version'],
      ],
    ],
    ['set x=1', [['set', 'x', '=', '1']]],
    ['set datestyle to ISO, MDY', [['set', 'datestyle', 'to', 'ISO', ',', 'MDY']]],
    ['disable my-db.example', [['disable', 'my-db.example']]],
    ['disable größe', [['disable', 'größe']]],
    ['pause "open', [null]],
    ["set x = 'open; show version", [null, ['show', 'version']]],
    ['select 1 (); show version', [null, ['show', 'version']]],
    ['/* open', [null]],
  ])('%j', (sql, words) => {
    expect(wordsOf(sql)).toEqual(words);
  });

  test('a text of any bytes takes time in proportion to its length', () => {
    for (const part of ['"', "'", '/*', '--', '(', ';', 'a ', '""']) {
      const startedMs = performance.now();
      parseStatements(part.repeat(30_000));
      expect(performance.now() - startedMs).toBeLessThan(2000);
    }
  });
});
