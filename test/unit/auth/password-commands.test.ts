import { describe, expect, test } from 'vitest';
import { PasswordCommands } from '../../../src/auth/password-commands.ts';
import { RecordingLogger } from '../../support/recording-logger.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';

const LIMITS = { ttlMs: 300_000, timeoutMs: 10_000 };
const WORDS = ['/bin/token', '--secret-argument'];

function scene(output: () => Promise<string>) {
  const environment = new VirtualEnvironment();
  environment.onCommand = output;
  const log = new RecordingLogger();
  return { environment, log, commands: new PasswordCommands(environment, log) };
}

describe('a password_command', () => {
  test('is run once for all who wait, and again when its output is too old', async () => {
    let n = 0;
    const { environment, commands } = scene(async () => `token ${++n}\r\n`);
    const both = await Promise.all([commands.password(WORDS, LIMITS), commands.password(WORDS, LIMITS)]);
    expect(both).toEqual(['token 1', 'token 1']);
    environment.advance(299_000);
    expect(commands.password(WORDS, LIMITS)).toBe('token 1');
    environment.advance(1000);
    expect(await commands.password(WORDS, LIMITS)).toBe('token 2');
    expect(await commands.password(['/bin/other'], LIMITS)).toBe('token 3');
    commands.forget();
    expect(await commands.password(WORDS, LIMITS)).toBe('token 4');
    expect(environment.commands).toHaveLength(4);
  });

  test.each(['', '\n', 'two\nlines\n', 'nul\0'])(
    'whose output is %j has failed, and the log shows nothing of it',
    async (text) => {
      const { log, commands } = scene(async () => text);
      expect(await commands.password(WORDS, LIMITS)).toBe(null);
      expect(log.at('warn')).toEqual(['password_command failed']);
      expect(JSON.stringify(log.lines)).not.toMatch(/two|nul|secret-argument/);
    },
  );

  test('that fails later leaves what was known', async () => {
    const { environment, commands } = scene(async () => 'first');
    await commands.password(WORDS, LIMITS);
    environment.onCommand = () => Promise.reject(new Error('it ended with code 1'));
    environment.advance(400_000);
    expect(await commands.password(WORDS, LIMITS)).toBe('first');
  });

  test('may write a token of any length that a password can have', async () => {
    const { commands } = scene(async () => `${'t'.repeat(65_530)}\n`);
    expect(await commands.password(WORDS, LIMITS)).toHaveLength(65_530);
  });
});
