import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig, parseYamlConfig } from '../../../src/config/load-config.ts';
import { problemsOf } from './problems-of.ts';

const DATABASES = 'databases: {app: {}}\n';

describe('loadConfig', () => {
  let folder = '';
  const file = (name: string, content: string | Buffer): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'config-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('reads a file and remembers where it is', () => {
    const path = file('a.yaml', `${DATABASES}pgbouncer: {auth_file: users.txt, resolv_conf: /x}`);
    const config = loadConfig(relative(process.cwd(), path));
    expect(config.path).toBe(path);
    expect(config.settings.authFile).toBe(join(folder, 'users.txt'));
    expect(config.settings.resolvConf).toBe('/x');
  });

  it('names the file as it was called in its problems', () => {
    const path = relative(process.cwd(), file('a.yaml', `${DATABASES}pgbouncer: {listen_port: x}`));
    expect(problemsOf(() => loadConfig(path))).toEqual([
      `${path}:2:26: bad value for "listen_port": expected a whole number from 0 to 65535, found "x"`,
    ]);
  });

  it('accepts a byte order mark and both kinds of line ends', () => {
    const path = file('a.yaml', `\ufeff${DATABASES}\r\npgbouncer:\r\n  listen_port: 1\r\n  pool_mode: x\r\n`);
    expect(problemsOf(() => loadConfig(path))).toEqual([expect.stringContaining('a.yaml:5:14: ')]);
  });

  it('refuses what cannot be read', () => {
    const binary = file('b.yaml', Buffer.from([0x61, 0xff, 0xfe]));
    symlinkSync('loop', join(folder, 'loop'));
    expect(problemsOf(() => loadConfig(join(folder, 'none.yaml')))).toEqual([
      `${folder}/none.yaml: cannot be read: no such file`,
    ]);
    expect(problemsOf(() => loadConfig(folder))).toEqual([`${folder}: cannot be read: it is a directory`]);
    expect(problemsOf(() => loadConfig(binary))).toEqual([`${binary}:1:1: not valid UTF-8`]);
    expect(problemsOf(() => loadConfig(join(folder, 'loop')))).toEqual([
      expect.stringContaining('cannot be read: ELOOP'),
    ]);
    expect(problemsOf(() => loadConfig('a\0b'))).toEqual([expect.stringContaining('cannot be read: ')]);
    expect(problemsOf(() => loadConfig(file('empty.yaml', '')))).toEqual([expect.stringContaining('no databases')]);
  });

  it('refuses 100 MB, and a file without an end, without reading them', () => {
    const large = file('large.yaml', '');
    truncateSync(large, 100 * 1024 * 1024);
    const tooLarge = 'larger than 1048576 bytes, which is too large for a configuration';
    const started = performance.now();
    expect(problemsOf(() => loadConfig(large))).toEqual([`${large}: ${tooLarge}`]);
    const cutWithinCharacter = file('é.yaml', `# ${'é'.repeat(1024 * 1024)}`);
    expect(problemsOf(() => loadConfig(cutWithinCharacter))).toEqual([`${cutWithinCharacter}: ${tooLarge}`]);
    expect(problemsOf(() => loadConfig('/dev/zero'))).toEqual([`/dev/zero: ${tooLarge}`]);
    expect(performance.now() - started).toBeLessThan(500);
  });

  it('reads 1 MB', () => {
    const comment = `#${' '.repeat(1024 * 1024 - DATABASES.length - 1)}`;
    expect(loadConfig(file('full.yaml', DATABASES + comment)).databases.size).toBe(1);
    expect(problemsOf(() => parseYamlConfig(`${DATABASES}${comment} `, 'a.yaml'))).toEqual([
      expect.stringContaining('too large'),
    ]);
  });
});
