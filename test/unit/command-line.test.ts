import { describe, expect, it } from 'vitest';
import { parseCommandLine } from '../../src/command-line.ts';

const RUN = { command: 'run', path: null, quiet: false, verbose: 0, daemon: false, user: null };

describe('the command line', () => {
  it.each([
    ['', {}],
    ['p.ini', { path: 'p.ini' }],
    ['-q p.ini', { path: 'p.ini', quiet: true }],
    ['p.ini -v --verbose -vv', { path: 'p.ini', verbose: 4 }],
    ['-dqv p.ini', { path: 'p.ini', daemon: true, quiet: true, verbose: 1 }],
    ['--daemon --quiet p.ini', { path: 'p.ini', daemon: true, quiet: true }],
    ['-u joe p.ini', { path: 'p.ini', user: 'joe' }],
    ['-qujoe p.ini', { path: 'p.ini', user: 'joe', quiet: true }],
    ['--user joe p.ini', { path: 'p.ini', user: 'joe' }],
    ['--user=joe p.ini', { path: 'p.ini', user: 'joe' }],
    ['-u a --user=b p.ini', { path: 'p.ini', user: 'b' }],
    ['-- -q', { path: '-q' }],
    ['-', { path: '-' }],
    ['./check', { path: './check' }],
  ])('%s', (args, expected) => {
    expect(parseCommandLine(args === '' ? [] : args.split(' '))).toEqual({ ...RUN, ...expected });
  });

  it.each([
    ['-h', { command: 'help' }],
    ['p.ini --help -x', { command: 'wrong', problem: 'unknown option -x' }],
    ['-V p.ini', { command: 'version' }],
    ['--version', { command: 'version' }],
    ['check p.ini', { command: 'check', path: 'p.ini' }],
    ['convert p.ini', { command: 'convert', path: 'p.ini' }],
    ['check --help', { command: 'help' }],
    ['check', { command: 'wrong', problem: 'check needs one file' }],
    ['convert a b', { command: 'wrong', problem: 'convert needs one file' }],
    ['convert -q', { command: 'wrong', problem: 'unknown option -q' }],
    ['a b', { command: 'wrong', problem: 'more than one CONFIG' }],
    ['--foo', { command: 'wrong', problem: 'unknown option --foo' }],
    ['--quiet=1', { command: 'wrong', problem: 'option --quiet takes no value' }],
    ['-u', { command: 'wrong', problem: 'option -u needs a name' }],
    ['--user=', { command: 'wrong', problem: 'option --user needs a name' }],
  ])('%s', (args, expected) => expect(parseCommandLine(args.split(' '))).toEqual(expected));

  it('refuses an online restart and says what there is instead', () => {
    for (const option of ['-R', '--reboot', '-qR']) {
      const { command, ...rest } = parseCommandLine([option, 'p.ini']);
      expect(command).toBe('wrong');
      expect(rest).toEqual({
        problem: expect.stringMatching(/^-R \(online restart\) is not supported: .*so_reuseport/),
      });
    }
  });
});
