/** The documentation that is derived from the console's tables is the one that is committed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { renderConsole } from '../../support/render-console.ts';

const path = new URL('../../../docs/console.md', import.meta.url).pathname;

test('docs/console.md is what the tables say (UPDATE_EXAMPLE=1 writes it anew)', () => {
  if (process.env['UPDATE_EXAMPLE'] === '1') writeFileSync(path, renderConsole());
  expect(readFileSync(path, 'utf8')).toBe(renderConsole());
});
