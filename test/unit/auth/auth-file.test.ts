import { describe, expect, test } from 'vitest';
import { AuthFile } from '../../../src/auth/auth-file.ts';
import { parseUserList } from '../../../src/auth/user-list.ts';
import { RecordingLogger } from '../../support/recording-logger.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';

const PATH = '/etc/users.txt';
const OLD = '"alice" "old"\n';
const NEW = '"alice" "new"\n"bob" "b"\n';

function scene(path: string | null = PATH) {
  const environment = new VirtualEnvironment();
  const log = new RecordingLogger();
  let changes = 0;
  let version = 1;
  const file = new AuthFile({ environment, log, path, users: parseUserList(OLD), onChanged: () => changes++ });
  const write = (text: string): void => {
    environment.files.set(PATH, { text, version: version++ });
  };
  let nowMs = 0;
  const pass = async (seconds = 1): Promise<void> => {
    for (let i = 0; i < seconds * 5; i++) {
      nowMs += 200;
      file.check(nowMs);
      await environment.settle();
    }
  };
  write(OLD);
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

  test('is read at once by a reload, also another one, also none', async () => {
    const { file, write, changes, environment } = scene();
    write(NEW);
    await file.reload();
    expect(password(file)).toBe('new');
    environment.files.set('/other', { text: '"carol" "c"', version: 1 });
    await file.reload('/other');
    expect(password(file)).toBe(null);
    expect(password(file, 'carol')).toBe('c');
    await file.reload('/missing');
    expect(password(file, 'carol')).toBe('c');
    await file.reload(null);
    expect(file.size).toBe(0);
    expect(changes()).toBe(3);
  });
});
