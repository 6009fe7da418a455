import { describe, expect, it } from 'vitest';
import { IdentMaps } from '../../../src/auth/ident-maps.ts';

const TEXT = `
# map  system  user
staff  ann@example.org  ann
staff  ann@example.org  "all"
root   admin  all
`;

function parse(text: string): IdentMaps {
  const { maps, problems } = IdentMaps.parse(text, 'pg_ident.conf');
  expect(problems).toEqual([]);
  return maps;
}

describe('pg_ident.conf', () => {
  it.each([
    ['staff', 'ann@example.org', 'ann', true],
    ['staff', 'ann@example.org', 'bob', false],
    ['staff', 'ANN@example.org', 'ann', false],
    ['staff', 'ann@example.org', 'all', true],
    ['root', 'admin', 'bob', true],
    ['root', 'ann@example.org', 'ann', false],
    ['missing', 'ann', 'ann', false],
    [null, 'ann', 'ann', true],
    [null, 'ann', 'bob', false],
  ])('map %s lets %s be %s: %s', (map, systemName, userName, expected) => {
    expect(parse(TEXT).allows(map, systemName, userName)).toBe(expected);
  });

  it.each([
    ['staff ann', 'a line is a map name, a system user name and a database user name'],
    ['staff ann bob eve', 'a line is a map name, a system user name and a database user name'],
    ['staff ann,bob eve', 'a line is a map name, a system user name and a database user name'],
    ['staff /^(.*)@x$ \\1', 'regular expressions are not supported'],
    ['staff ann +admins', 'groups and regular expressions are not supported'],
    ['staff "ann bob', 'a quote is not closed'],
  ])('"%s" is refused with its line', (line, message) => {
    expect(IdentMaps.parse(`\n${line}`, 'f').problems).toEqual([{ file: 'f', line: 2, message }]);
  });
});
