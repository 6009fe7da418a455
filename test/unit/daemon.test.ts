import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runInBackground } from '../../src/daemon.ts';

const folder = mkdtempSync(join(tmpdir(), 'daemon-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A program that says who it is and then does `body`. */
function program(body: string): string {
  const path = join(folder, 'program.cjs');
  writeFileSync(
    path,
    `const { readFileSync, writeFileSync } = require('node:fs');
     const session = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ')[3];
     writeFileSync(process.argv[2], JSON.stringify({ pid: process.pid, session: Number(session), args: process.argv.slice(3) }));
     ${body}`,
  );
  return path;
}

describe('the program in the background', () => {
  it('is waited for until it runs, in a session of its own', async () => {
    const file = join(folder, 'who');
    const path = program(
      'process.send({ problem: null }); setInterval(() => {}, 1000); process.on("disconnect", () => {});',
    );
    expect(await runInBackground(path, [file, '-d', 'x.ini'])).toBeNull();
    const { pid, session, args } = JSON.parse(readFileSync(file, 'utf8')) as {
      pid: number;
      session: number;
      args: string[];
    };
    expect(args).toEqual(['-d', 'x.ini']);
    expect(session).toBe(pid);
    process.kill(pid, 'SIGKILL');
  });

  it('says why it does not run', async () => {
    const file = join(folder, 'who');
    expect(await runInBackground(program('process.send({ problem: "no port" })'), [file])).toBe('no port');
    expect(await runInBackground(program('process.exit(3)'), [file])).toBe(
      'the process in the background ended (exit code 3)',
    );
    expect(await runInBackground(program('process.kill(process.pid, "SIGKILL")'), [file])).toBe(
      'the process in the background ended (SIGKILL)',
    );
  });
});
