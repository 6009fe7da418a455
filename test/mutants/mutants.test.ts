/** The list of mutants fits the source, the tests and the documentation, so that `npm run mutants` finds what it needs. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { mutants } from './mutants.ts';

const at = (path: string): string => new URL(`../../${path}`, import.meta.url).pathname;

describe.each(mutants)('$id in $file', ({ id, file, from, to, test: path }) => {
  test('changes one place, and names a test that there is', () => {
    expect(readFileSync(at(`src/${file}`), 'utf8').split(from)).toHaveLength(2);
    expect(to).not.toBe(from);
    expect(existsSync(at(`test/${path}`))).toBe(true);
  });

  test('is in docs/security.md', () => {
    expect(readFileSync(at('docs/security.md'), 'utf8')).toContain(id);
  });
});

test('every test that docs/security.md names is there, in its file', () => {
  const named = [...readFileSync(at('docs/security.md'), 'utf8').matchAll(/`test\/([\w./-]+\.ts)`(?: \*([^*]+)\*)?/g)];
  expect(named.length).toBeGreaterThan(40);
  for (const [, path = '', name = ''] of named) {
    expect(existsSync(at(`test/${path}`)), path).toBe(true);
    expect(readFileSync(at(`test/${path}`), 'utf8'), `${path}: ${name}`).toContain(name);
  }
});
