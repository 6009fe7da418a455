/** Reload as the one who runs the pooler sees it: a file that changes, what is in force afterwards, and the log. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ReloadResult } from '../../src/live-config.ts';
import { createPooler, type Pooler } from '../../src/pooler.ts';
import { RecordingLogger } from '../support/recording-logger.ts';

interface Scene {
  readonly pooler: Pooler;
  readonly log: RecordingLogger;
  readonly file: string;
  readonly write: (settings: object, databases?: object, users?: object) => void;
  readonly writeText: (name: string, text: string) => void;
}

const APP = { app: { host: '127.0.0.1', port: 1 } };

async function scene(settings: object = {}): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-reload-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const writeText = (name: string, text: string): void => writeFileSync(join(folder, name), text);
  const write: Scene['write'] = (given, databases = APP, users = {}) =>
    // JSON is YAML.
    writeText('pooler.yaml', JSON.stringify({ pgbouncer: { listen_port: 0, ...given }, databases, users }));
  write(settings);
  const file = join(folder, 'pooler.yaml');
  const log = new RecordingLogger();
  const pooler = await createPooler(file, { log });
  onTestFinished(() => pooler.close({ timeoutMs: 0 }));
  return { pooler, log, file, write, writeText };
}

function failed(result: ReloadResult): string {
  return result.ok ? 'it did not fail' : result.message;
}

describe('a reload', () => {
  test('is in force when its promise resolves, and what is gone from the file has its default again', async () => {
    const { pooler, write, log } = await scene({ default_pool_size: 7, query_timeout: 3 });
    write({ default_pool_size: 9 }, { ...APP, other: { host: '127.0.0.1', port: 2 } });
    expect(await pooler.reload()).toMatchObject({ ok: true });
    const { config } = pooler;
    expect([config.settings.defaultPoolSize, config.settings.queryTimeoutMs]).toEqual([9, 0]);
    expect(pooler.snapshot().databases.map(({ name, poolSize }) => [name, poolSize])).toEqual([
      ['app', 9],
      ['other', 9],
    ]);
    const { message, fields } = log.lines.at(-1)!;
    expect([message, fields]).toEqual([
      'reloaded',
      { settings: ['default_pool_size', 'query_timeout'], databases: { added: 1, removed: 0, changed: 0 } },
    ]);
  });

  test('of the same file changes nothing', async () => {
    const { pooler, log } = await scene({ default_pool_size: 7 });
    expect(await pooler.reload()).toMatchObject({ ok: true, diff: { isEmpty: true } });
    expect(log.lines.at(-1)!.message).toBe('reloaded: nothing has changed');
  });

  test('keeps what needs a restart, and says so once', async () => {
    const { pooler, write, log } = await scene();
    const { address } = pooler;
    write({ listen_port: 1, http_port: 2, default_pool_size: 3 });
    expect(await pooler.reload()).toMatchObject({ ok: true });
    expect(pooler.address).toEqual(address);
    const { listenPort, httpPort, defaultPoolSize } = pooler.config.settings;
    expect([listenPort, httpPort, defaultPoolSize]).toEqual([0, 0, 3]);
    expect(log.at('warn')).toEqual(['not changed, for it needs a restart: listen_port, http_port']);
  });

  test.each([
    [
      'an unknown key',
      'pgbouncer: {default_pool_size: 1, pool_mod: session}\ndatabases: {app: }',
      /:1:\d+: .*pool_mod/,
    ],
    ['a bad value', 'pgbouncer:\n  default_pool_size: many\ndatabases: {app: }', /:2:22: .*default_pool_size/],
    ['an empty file', '', /no databases/],
    ['half a file', 'pgbouncer:\n  default_pool_size: 1\ndatabases: {app: "host', /:3:/],
    ['no YAML', '\u0000', /pooler\.yaml/],
    ['a huge file', `# ${'x'.repeat(1024 * 1024)}`, /too large/],
    [
      'an auth_file that is not there',
      'pgbouncer: {default_pool_size: 1, auth_file: nowhere.txt}\ndatabases: {app: }',
      /nowhere\.txt/,
    ],
  ])('that finds %s changes nothing, and says where the mistake is', async (_what, text, words) => {
    const { pooler, log, writeText, file } = await scene({ default_pool_size: 7 });
    const before = JSON.stringify([pooler.config, pooler.snapshot().databases]);
    writeText('pooler.yaml', text);
    expect(failed(await pooler.reload())).toMatch(words);
    expect(JSON.stringify([pooler.config, pooler.snapshot().databases])).toBe(before);
    const [line, ...others] = log.errors;
    expect([line?.startsWith('reload failed, nothing has changed: '), others]).toEqual([true, []]);
    expect(line).toMatch(words);
    expect(log.lines.at(-1)!.fields).toMatchObject({ file });
  });

  test('that finds no file changes nothing', async () => {
    const { pooler, file } = await scene();
    rmSync(file);
    expect(failed(await pooler.reload())).toBe(`${file}: cannot be read: no such file`);
    expect(pooler.config.databases.has('app')).toBe(true);
  });

  test('of a configuration that came from no file is refused', async () => {
    const log = new RecordingLogger();
    const pooler = await createPooler({ pgbouncer: { listen_port: 0 }, databases: APP }, { log });
    onTestFinished(() => pooler.close({ timeoutMs: 0 }));
    expect(failed(await pooler.reload())).toBe('the configuration did not come from a file');
  });

  test('reads auth_file again, if it is another one', async () => {
    const { pooler, write, writeText, log } = await scene();
    writeText('users.txt', '"alice" "a"\n');
    write({ auth_file: 'users.txt' });
    await pooler.reload();
    expect(pooler.snapshot().users).toBe(1);
    writeText('users.txt', '"alice" "a"\n"bob" "b"\n"bob" "c"\n');
    await pooler.reload();
    expect(pooler.snapshot().users).toBe(2);
    await pooler.reload();
    // Not read once more, or it would have complained once more of the second line for one user.
    expect(log.at('warn')).toHaveLength(1);
    write({});
    await pooler.reload();
    expect(pooler.snapshot().users).toBe(0);
  });

  test('is refused as a whole for a broken line of auth_file, which stays as it was', async () => {
    const { pooler, write, writeText, file } = await scene();
    writeText('users.txt', '"alice" "a"\n');
    write({ auth_file: 'users.txt' });
    await pooler.reload();
    writeText('users.txt', '"alice" "a"\n"bob" "hush-hush"\n"carol" "hush-hush\n');
    write({ auth_file: 'users.txt', default_pool_size: 99 });
    const message = failed(await pooler.reload());
    expect(message).toBe(`${file.replace(/[^/]+$/, 'users.txt')}:3:1: the quotes of the secret are not closed`);
    expect(pooler.userNames).toEqual(['alice']);
    expect(pooler.config.settings.defaultPoolSize).toBe(20);
    writeText('users.txt', '"alice" "a"\n"bob" "b"\n');
    expect(await pooler.reload()).toMatchObject({ ok: true });
    expect(pooler.userNames).toEqual(['alice', 'bob']);
  });

  test('never logs a secret', async () => {
    const { pooler, write, log } = await scene();
    write({}, { app: { host: '127.0.0.1', port: 1, user: 'u', password: 'hush-hush' } });
    await pooler.reload();
    expect(JSON.stringify(log.lines)).not.toContain('hush');
  });
});

describe('reload_on_change', () => {
  test.each([
    [
      '${file:…}',
      'p.yaml',
      'pgbouncer: {listen_port: 0, reload_on_change: true}\ndatabases: {app: {password: "${file:other}"}}',
    ],
    [
      'auth_hba_file',
      'p.yaml',
      'pgbouncer: {listen_port: 0, reload_on_change: true, auth_type: hba, auth_hba_file: other}\ndatabases: {app: }',
    ],
    [
      '%include',
      'p.ini',
      '[pgbouncer]\nlisten_addr = 127.0.0.1\nunix_socket_dir =\nlisten_port = 0\nreload_on_change = 1\n[databases]\n%include FOLDER/other\n',
    ],
  ])('notices a change of what %s names', async (what, name, text) => {
    const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-reload-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const put = (version: number): void =>
      writeFileSync(
        join(folder, 'other'),
        what === '${file:…}'
          ? `secret${version}`
          : what === '%include'
            ? `app = host=127.0.0.1 pool_size=${version}`
            : `host all all 127.0.0.${version}/32 trust`,
      );
    put(1);
    writeFileSync(join(folder, name), text.replace('FOLDER', folder));
    const log = new RecordingLogger();
    const reloaded = new Promise<string>((resolve) => {
      log.onLine = ({ message }) => {
        if (message.startsWith('reload')) resolve(message);
      };
    });
    const pooler = await createPooler(join(folder, name), { log });
    onTestFinished(() => pooler.close({ timeoutMs: 0 }));
    put(2);
    expect(await reloaded).toMatch(/^reloaded/);
  });
});

describe('SET', () => {
  test('changes one setting at once, until the next reload', async () => {
    const { pooler } = await scene({ default_pool_size: 7 });
    expect(await pooler.set('default_pool_size', '8')).toMatchObject({ ok: true });
    expect(await pooler.set('query_timeout', '1.5')).toMatchObject({ ok: true });
    const { settings } = pooler.config;
    expect([settings.defaultPoolSize, settings.queryTimeoutMs]).toEqual([8, 1500]);
    await pooler.reload();
    expect([pooler.config.settings.defaultPoolSize, pooler.config.settings.queryTimeoutMs]).toEqual([7, 0]);
  });

  test.each([
    ['nothing_like_it', '1', 'unknown parameter: nothing_like_it'],
    ['listen_port', '1', 'listen_port cannot be changed while running'],
    ['default_pool_size', 'many', /^bad value for default_pool_size: expected a whole number/],
  ])('refuses %s', async (name, value, words) => {
    const { pooler } = await scene();
    const before = pooler.config;
    expect(failed(await pooler.set(name, value))).toMatch(words);
    expect(pooler.config).toBe(before);
  });
});
