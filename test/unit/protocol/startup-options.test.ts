/** The command line in `options`: PostgreSQL 15 and 18 say the same to each of these (`test/postgres/parameters.test.ts`). */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseStartupOptions } from '../../../src/protocol/startup-options.ts';

const escaped = (word: string): string => word.replaceAll(/[\s\\]/g, (character) => `\\${character}`);

describe('options', () => {
  test.each([
    ['', []],
    [' \t\n\v\f\r', []],
    ['-c a=b', ['a=b']],
    ['-ca=b', ['a=b']],
    ['--a=b', ['a=b']],
    ['-c a=1 -c a=2 --a=3', ['a=1', 'a=2', 'a=3']],
    ['-c a-b=c-d --e-f=g-h', ['a_b=c-d', 'e_f=g-h']],
    ['-c a=b=c', ['a=b=c']],
    ['-c a=', ['a=']],
    ['-c a=b\\ c\\\\d\\e', ['a=b c\\de']],
    ['\\-c a=b\\', ['a=b']],
    ['-c\ta=b\n-c\rc=d', ['a=b', 'c=d']],
    ['-c a=\u00a0\u3000', ['a=\u00a0\u3000']],
    ['-c -c=x', ['_c=x']],
    ['-c=', ['=']],
    ['--=', ['=']],
    ['--', []],
    ['-c a=b --', ['a=b']],
  ])('%j', (options, settings) => {
    const parsed = parseStartupOptions(options);
    expect(parsed.problem).toBeNull();
    expect(parsed.settings.map(({ name, value }) => `${name}=${value}`)).toEqual(settings);
  });

  test.each([
    ['-c', 'invalid command-line argument for server process: -c'],
    ['-c a', '-c a requires a value'],
    ['--a-b', '--a-b requires a value'],
    ['-Q', 'invalid command-line argument for server process: -Q'],
    ['-c a=b -Q foo', 'invalid command-line argument for server process: -Q'],
    ['foo', 'invalid command-line argument for server process: foo'],
    ['-', 'invalid command-line argument for server process: -'],
    ['-- -c a=b', 'invalid command-line argument for server process: -c'],
    ['-c a=b\\  -- x', 'invalid command-line argument for server process: x'],
  ])('%j is refused', (options, message) => {
    expect(parseStartupOptions(options).problem?.message).toBe(message);
  });

  test('mean what was put into them, however it is spelled', () => {
    const text = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\\', '=', '-', "'", '"', 'a', 'ü', '😀') });
    const name = fc.string({ unit: fc.constantFrom('a', '_', '.', ' ', '\\', "'", 'é') });
    const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\v', '\f', '\r'), minLength: 1, maxLength: 3 });
    const form = fc.constantFrom('-c', '-c ', '--');
    fc.assert(
      fc.property(fc.array(fc.tuple(form, name, text, space)), (settings) => {
        const options = settings.map(([how, key, value, gap]) => `${gap}${how}${escaped(`${key}=${value}`)}`).join('');
        const expected = settings.map(([, key, value]) => ({ name: key, value }));
        expect(parseStartupOptions(options)).toEqual({ settings: expected, problem: null });
      }),
      { numRuns: 1000, seed: 3 },
    );
  });

  test('of any kind are read to an end', () => {
    const unit = fc.constantFrom(' ', '\\', '-', 'c', '=', '-c', '--', 'a', '\n');
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 200 }), (options) => {
        const { settings, problem } = parseStartupOptions(options);
        expect(settings.length).toBeLessThanOrEqual(options.length / 2);
        expect(problem === null || problem.message !== '').toBe(true);
      }),
      { numRuns: 3000, seed: 4 },
    );
    for (const piece of ['-c=', '-c a=b ', '\\', '- ', '-- ', '-c ']) parseStartupOptions(piece.repeat(10_000));
  });
});
