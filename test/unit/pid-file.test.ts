import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { PidFile } from '../../src/pid-file.ts';

function place(content: string | null = null) {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-pid-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'pid');
  if (content !== null) writeFileSync(path, content);
  return { folder, path };
}

/** Of a process that has ended. */
function deadPid(): number {
  return spawnSync('true').pid;
}

describe('the pid file', () => {
  it('holds our process id while it is taken, and leaves nothing', () => {
    const { path, folder } = place();
    const file = PidFile.take(path);
    expect(readFileSync(path, 'utf8')).toBe(`${process.pid}\n`);
    expect(readdirSync(folder)).toEqual(['pid']);
    file.release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each(['', 'rubbish', '0', '-1', `${process.pid}\n`, `${deadPid()}\n`])('replaces a stale one: %j', (content) => {
    const { path } = place(content);
    PidFile.take(path);
    expect(readFileSync(path, 'utf8')).toBe(`${process.pid}\n`);
  });

  it('refuses to take that of a living process, and leaves it alone', () => {
    const { path, folder } = place(`${process.ppid}\n`);
    expect(() => PidFile.take(path)).toThrow(`another tsbouncer is running with process id ${process.ppid}`);
    expect(readFileSync(path, 'utf8')).toBe(`${process.ppid}\n`);
    expect(readdirSync(folder)).toEqual(['pid']);
  });

  it('gives back nobody else’s', () => {
    const { path } = place();
    const file = PidFile.take(path);
    writeFileSync(path, '1\n');
    file.release();
    expect(existsSync(path)).toBe(true);
  });

  it('says which folder is missing', () => {
    const { folder } = place();
    expect(() => PidFile.take(join(folder, 'nowhere', 'pid'))).toThrow(/ENOENT.*nowhere/);
  });
});
