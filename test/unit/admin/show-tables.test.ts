/** The shape of every SHOW against PgBouncer 1.25's: names and order of columns, and the type that each is sent as. */
import { expect, test } from 'vitest';
import { SHOW_TABLES } from '../../../src/admin/show-tables.ts';
import { SHOW_SHAPES } from '../../support/show-shapes.ts';

/** PgBouncer's letters for types. */
const LETTERS = { text: 's', int4: 'i', int8: 'q', numeric: 'N', bytea: 'b' } as const;

test.each(Object.entries(SHOW_SHAPES))('SHOW %s', (name, { types, columns }) => {
  const table = SHOW_TABLES.find((candidate) => candidate.name === name)!;
  const names = columns.split(' ');
  // What is ours alone may only follow.
  const shape = table.columns.slice(0, names.length);
  expect(shape.map((column) => column.name)).toEqual(names);
  expect(shape.map(({ type }) => LETTERS[type]).join('')).toBe(types);
});

test('there is no other', () => {
  expect(SHOW_TABLES.map(({ name }) => name).sort()).toEqual(Object.keys(SHOW_SHAPES).sort());
});
