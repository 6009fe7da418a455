import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { AuthFile } from '../../../src/auth/auth-file.ts';
import { ConfigError } from '../../../src/config/config-error.ts';
import { configFromObject } from '../../../src/config/load-config.ts';
import { RecordingLogger } from '../../support/recording-logger.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'tsbouncer-auth-file-'));
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));
const PATH = join(FOLDER, 'users.txt');
const OTHER = join(FOLDER, 'other.txt');
const OLD = '"alice" "old"\n';
const NEW = '"alice" "new"\n"bob" "b"\n';

const configOf = (path: string | null) =>
  configFromObject({ pgbouncer: path === null ? {} : { auth_file: path }, databases: { app: 'host=127.0.0.1' } });

/** The file is a real one for `prepare`, and one of the environment for `check`. */
function scene(first = OLD) {
  const environment = new VirtualEnvironment();
  const log = new RecordingLogger();
  let changes = 0;
  let version = 1;
  const file = new AuthFile({ environment, log, onChanged: () => changes++ });
  const write = (text: string): void => {
    environment.files.set(PATH, { text, version: version++ });
    writeFileSync(PATH, text);
  };
  let nowMs = 0;
  const pass = async (seconds = 1): Promise<void> => {
    for (let i = 0; i < seconds * 5; i++) {
      nowMs += 200;
      file.check(nowMs);
      await environment.settle();
    }
  };
  write(first);
  file.prepare(configOf(PATH))();
  return { file, log, write, pass, environment, changes: () => changes };
}

const password = (file: AuthFile, user = 'alice') => {
  const secret = file.lookup(user);
  return secret?.kind === 'plain' ? secret.password : null;
};

describe('auth_file', () => {
  test('that does not change is not news', async () => {
    const { file, log, pass, changes } = scene();
    await pass(10);
    expect(password(file)).toBe('old');
    expect(changes()).toBe(0);
    expect(log.lines).toEqual([]);
  });

  test('that has changed is read again, a second after it has come to rest', async () => {
    const { file, write, pass, changes } = scene();
    await pass(5);
    write('"alice" "half');
    await pass(1);
    write(NEW);
    await pass(1);
    expect(password(file)).toBe('old');
    await pass(1);
    expect(password(file)).toBe('new');
    expect(file.size).toBe(2);
    expect(changes()).toBe(1);
  });

  test('that has changed since the start, before anybody looked', async () => {
    const { file, write, pass } = scene();
    write(NEW);
    await pass(3);
    expect(password(file)).toBe('new');
  });

  test.each([
    ['is broken', '"alice" "secret-of-alice"\nbob "secret-of-bob"\n'],
    ['is cut off', '"alice" "secret-of-ali'],
    ['has vanished', null],
  ])('that %s leaves the users as they are, with one line in the log', async (_what, text) => {
    const { file, log, write, pass, environment } = scene();
    await pass(3);
    if (text === null) environment.files.delete(PATH);
    else write(text);
    await pass(10);
    expect(password(file)).toBe('old');
    expect(file.size).toBe(1);
    expect(log.lines).toHaveLength(1);
    expect(JSON.stringify(log.lines)).not.toContain('secret-of');
    write(NEW);
    await pass(3);
    expect(password(file)).toBe('new');
    environment.files.delete(PATH);
    await pass(3);
    expect(log.at('warn')).toHaveLength(2);
  });

  test('that is emptied has no users', async () => {
    const { file, write, pass } = scene();
    await pass(3);
    write('');
    await pass(3);
    expect(file.size).toBe(0);
  });

  test('is read at once by a reload, also another one, also none', () => {
    const { file, write, changes } = scene();
    write(NEW);
    const putIntoForce = file.prepare(configOf(PATH));
    expect(password(file)).toBe('old');
    putIntoForce();
    expect(password(file)).toBe('new');
    writeFileSync(OTHER, '"carol" "c"');
    file.prepare(configOf(OTHER))();
    expect(password(file)).toBe(null);
    expect(password(file, 'carol')).toBe('c');
    expect(() => file.prepare(configOf(join(FOLDER, 'missing')))).toThrow('ENOENT');
    expect(password(file, 'carol')).toBe('c');
    file.prepare(configOf(null))();
    expect(file.size).toBe(0);
    // Whoever reloads knows it.
    expect(changes()).toBe(0);
  });

  test('with a broken line fails a reload, which names the line and nothing that it says', () => {
    const { file, write } = scene();
    write('"alice" "a"\nbob "secret-of-bob"\n');
    const problems = (() => {
      try {
        file.prepare(configOf(PATH));
      } catch (error) {
        if (error instanceof ConfigError) return error.problems;
      }
      return [];
    })();
    expect(problems).toMatchObject([{ file: PATH, line: 2 }]);
    expect(JSON.stringify(problems)).not.toContain('secret-of');
    expect(password(file)).toBe('old');
  });

  test('with a broken line at the start has the users of the other lines, and is complained about once', async () => {
    const { file, log, pass, write } = scene('bob "b"\n"alice" "a"\n');
    await pass(5);
    expect(password(file)).toBe('a');
    expect(log.at('warn')).toHaveLength(1);
    write(NEW);
    await pass(3);
    expect(password(file)).toBe('new');
  });

  test('that was being read when a reload put another one into force does not come back', async () => {
    const { file, write, pass, environment } = scene();
    await pass(3);
    write(NEW);
    await pass(1);
    const read = environment.readTextFile.bind(environment);
    const reads: (() => void)[] = [];
    environment.readTextFile = (path) =>
      new Promise((resolve) => {
        reads.push(() => void read(path).then(resolve));
      });
    await pass(1);
    writeFileSync(OTHER, '"carol" "c"\n');
    file.prepare(configOf(OTHER))();
    expect(reads).toHaveLength(1);
    reads[0]!();
    await environment.settle();
    expect(password(file, 'carol')).toBe('c');
    expect(file.size).toBe(1);
  });
});
