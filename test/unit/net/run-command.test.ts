import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { NodeEnvironment } from '../../../src/net/node-environment.ts';

const environment = new NodeEnvironment(() => {
  throw new Error('not here');
});
const LIMITS = { timeoutMs: 10_000, maxBytes: 1000 };
const node = (script: string, ...rest: string[]): string[] => [process.execPath, '-e', script, ...rest];

test('what a program writes comes back; no shell looks at its arguments', async () => {
  const words = node('process.stdout.write(process.argv[1])', '$(echo x) `id` "ü" ; *');
  expect(await environment.runCommand(words, LIMITS)).toBe('$(echo x) `id` "ü" ; *');
});

test.each([
  [
    'that fails',
    node('console.log("secret-out"); console.error("secret-err"); process.exit(3)'),
    'it ended with code 3',
  ],
  [
    'that is killed',
    node('process.kill(process.pid, "SIGTERM"); setTimeout(() => {}, 9e4)'),
    'it was ended by SIGTERM',
  ],
  ['that does not exist', ['/no/such/secret-program', 'secret-argument'], 'it cannot be run (ENOENT)'],
  ['that is no program', [import.meta.filename], 'it cannot be run (EACCES)'],
  [
    'that writes too much',
    node('process.stdout.write("secret-out".repeat(1e4)); setInterval(() => {}, 9e4)'),
    'it wrote more than 1000 bytes',
  ],
])('of one %s an error that shows nothing', async (_what, words, message) => {
  await expect(environment.runCommand(words, LIMITS)).rejects.toThrow(new Error(message));
});

test('one that takes too long is killed, with what it has started', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-command-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const pidFile = join(folder, 'pid');
  const script = `const child = require('child_process').spawn('sleep', ['600'], { stdio: 'inherit' });
    require('fs').writeFileSync(process.argv[1], String(child.pid)); setInterval(() => {}, 9e4);`;
  await expect(environment.runCommand(node(script, pidFile), { ...LIMITS, timeoutMs: 1500 })).rejects.toThrow(
    'it took longer than 1500 ms',
  );
  const pid = Number(readFileSync(pidFile, 'utf8'));
  await expect.poll(() => stateOf(pid)).toMatch(/gone|Z/);
});

/** Of a process; one that has ended and that nobody has waited for is Z. */
function stateOf(pid: number): string {
  try {
    return / ([A-Z]) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? '?';
  } catch {
    return 'gone';
  }
}
