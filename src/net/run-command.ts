/**
 * Runs one program for `Environment.runCommand`. It knows not what for; but what it writes may be a secret, so that nothing
 * of it, nor of the arguments, is ever part of an error.
 */
import { spawn } from 'node:child_process';
import type { CommandLimits, Environment } from '../base/environment.ts';

export function runCommand(
  words: readonly string[],
  { timeoutMs, maxBytes }: CommandLimits,
  { startTimer }: Pick<Environment, 'startTimer'>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const [program = '', ...rest] = words;
    // A group of its own, so that all that it starts can be killed with it.
    const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'ignore'], detached: true });
    const chunks: Buffer[] = [];
    let bytes = 0;
    const fail = (reason: string): void => {
      deadline.cancel();
      child.stdout.destroy();
      killGroup(child.pid);
      reject(new Error(reason));
    };
    const deadline = startTimer(timeoutMs, () => fail(`it took longer than ${timeoutMs} ms`));
    child.stdout.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > maxBytes) fail(`it wrote more than ${maxBytes} bytes`);
    });
    child.on('error', (error) =>
      fail('code' in error ? `it cannot be run (${String(error.code)})` : 'it cannot be run'),
    );
    child.on('close', (code, signal) => {
      if (code !== 0) return fail(code === null ? `it was ended by ${signal}` : `it ended with code ${code}`);
      deadline.cancel();
      resolve(Buffer.concat(chunks).toString('utf8'));
    });
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
