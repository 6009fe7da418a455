/** Where lines go, and that nothing is stopped by one that cannot be written (fault F9). */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type LogSettings, ProcessLog } from '../../../src/base/process-log.ts';

const SETTINGS: LogSettings = { level: 'info', format: 'json', file: null, quiet: true, syslog: null };

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tsbouncer-log-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

function messages(path: string): readonly string[] {
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  return lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
}

describe('the log of the process', () => {
  it('goes to its file, and to a new one after that was renamed', () => {
    const file = join(folder(), 'log');
    const log = new ProcessLog({ ...SETTINGS, file });
    log.info({}, 'first');
    renameSync(file, `${file}.1`);
    log.info({}, 'second');
    log.configure({ ...SETTINGS, file });
    log.info({}, 'third');
    expect([messages(`${file}.1`), messages(file)]).toEqual([['first', 'second'], ['third']]);
  });

  it('has another level and form from the next line on', () => {
    const file = join(folder(), 'log');
    const log = new ProcessLog({ ...SETTINGS, file, level: 'warn' });
    log.info({}, 'not this');
    log.configure({ ...SETTINGS, file, level: 'debug', format: 'text' });
    log.debug({ a: 1 }, 'this');
    expect(readFileSync(file, 'utf8')).toMatch(/^[\d-]+ [\d:.]+ UTC \[\d+\] DEBUG this a=1\n$/);
  });

  it('goes on without a file that cannot be opened', () => {
    const log = new ProcessLog({ ...SETTINGS, file: join(folder(), 'nowhere', 'log') });
    log.error({}, 'nobody hears it');
  });

  it('loses what a full disk does not take', () => {
    const log = new ProcessLog({ ...SETTINGS, file: '/dev/full' });
    for (let i = 0; i < 100; i++) log.info({}, 'lost');
  });

  it('loses what a pipe does not take that nobody reads, without a wait, and says how much when it is read again', () => {
    const file = join(folder(), 'pipe');
    execFileSync('mkfifo', [file]);
    const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    onTestFinished(() => closeSync(reader));
    const log = new ProcessLog({ ...SETTINGS, file });
    const text = 'x'.repeat(1000);
    for (let i = 0; i < 200; i++) log.info({ i }, text);
    const buffer = Buffer.alloc(1_000_000);
    const first = buffer.toString('utf8', 0, readSync(reader, buffer));
    log.info({}, 'again');
    log.info({}, 'and again');
    const lines = (first + buffer.toString('utf8', 0, readSync(reader, buffer))).trim().split('\n');
    // No line is cut, and none is missing without a word.
    const parsed = lines.map((line) => JSON.parse(line) as { msg: string; i?: number; lost?: number });
    const written = parsed.filter(({ msg }) => msg === text).length;
    const lost = parsed.reduce((sum, line) => sum + (line.lost ?? 0), 0);
    expect(written).toBeGreaterThan(10);
    expect(written + lost).toBe(200);
    expect(parsed.map(({ msg }) => msg).filter((msg) => msg.includes('again'))).toEqual(['again', 'and again']);
  });
});
