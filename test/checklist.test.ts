/**
 * `checklist.json`: ninety things that a naive pooler gets wrong, each with the tests that hold it, or what is open about
 * it. A test that is renamed or removed has to be followed there.
 */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

interface Line {
  readonly what: string;
  /** `file > name`, the name as it stands in the file. */
  readonly tests?: readonly string[];
  /** Why it does not apply, or not yet. */
  readonly open?: string;
}

const root = resolve(import.meta.dirname, '..');
const checklist = JSON.parse(readFileSync(resolve(root, 'test/checklist.json'), 'utf8')) as Record<string, Line>;

test('the checklist has its ninety lines, each with tests or a reason', () => {
  expect(Object.keys(checklist)).toEqual(Array.from({ length: 90 }, (_, i) => `${i + 1}`));
  const empty = Object.values(checklist).filter(({ tests, open }) => (tests?.length ?? 0) === 0 && open === undefined);
  expect(empty).toEqual([]);
});

test.each(Object.entries(checklist).flatMap(([number, { tests = [] }]) => tests.map((named) => [number, named])))(
  'line %s: %s is there',
  (_number, named) => {
    const [file = '', name = ''] = named.split(' > ');
    expect(existsSync(resolve(root, file)), file).toBe(true);
    const text = readFileSync(resolve(root, file), 'utf8');
    expect(["'", '"', '`'].some((quote) => text.includes(`${quote}${name}${quote},`))).toBe(true);
  },
);
