/**
 * Puts each fault of `mutants.ts` into a copy of the source and runs the test that it names: it must fail. Not part of
 * `npm test`: a fault takes a few seconds. `npm run mutants -- -t CVE-2021` runs some of them.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Mutant, mutants } from './mutants.ts';

/** A fault may make the code go round in a circle. */
const LIMIT_MS = 60_000;

const root = new URL('../..', import.meta.url).pathname;
const copy = mkdtempSync(join(tmpdir(), 'tsbouncer-mutants-'));

beforeAll(() => {
  for (const name of ['src', 'test', 'bench', 'docs', 'package.json', 'tsconfig.json', 'vitest.config.ts']) {
    cpSync(join(root, name), join(copy, name), { recursive: true });
  }
  symlinkSync(realpathSync(join(root, 'node_modules')), join(copy, 'node_modules'));
});

afterAll(() => rmSync(copy, { recursive: true }));

/** How many of the mutant's tests pass and fail in the copy as it is. */
async function runTest({ test: path, name }: Mutant): Promise<{ passed: number; failed: number } | 'endless'> {
  const report = join(copy, 'report.json');
  rmSync(report, { force: true });
  const pattern = name.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
  const filter = pattern === '' ? [] : ['-t', pattern];
  const argv = ['--project', 'fast', `test/${path}`, '--reporter=json', `--outputFile=${report}`, ...filter];
  const child = spawn(process.execPath, [join(copy, 'node_modules/vitest/vitest.mjs'), 'run', ...argv], {
    cwd: copy,
    detached: true,
    stdio: 'ignore',
  });
  const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), LIMIT_MS);
  const signal = await new Promise<NodeJS.Signals | null>((resolve) => child.on('exit', (_code, by) => resolve(by)));
  clearTimeout(timer);
  if (signal !== null) return 'endless';
  const { numPassedTests: passed, numFailedTests: failed } = JSON.parse(readFileSync(report, 'utf8')) as {
    numPassedTests: number;
    numFailedTests: number;
  };
  return { passed, failed };
}

test('without a fault every test passes that a mutant names', { timeout: 600_000 }, async () => {
  const files = new Map(mutants.map((mutant) => [mutant.test, { ...mutant, name: '' }]));
  for (const mutant of files.values()) {
    const result = await runTest(mutant);
    expect(result, mutant.test).toMatchObject({ failed: 0 });
  }
});

test.each(mutants)('$id in $file: $test notices', { timeout: 2 * LIMIT_MS }, async (mutant) => {
  const path = join(copy, 'src', mutant.file);
  const text = readFileSync(path, 'utf8');
  expect(text.split(mutant.from)).toHaveLength(2);
  writeFileSync(
    path,
    text.replace(mutant.from, () => mutant.to),
  );
  try {
    const result = await runTest(mutant);
    if (result !== 'endless') expect(result.failed).toBeGreaterThan(0);
  } finally {
    writeFileSync(path, text);
  }
});
