/** Whatever comes in, out comes a configuration or a ConfigError, soon. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/config/config-error.ts';
import { configFromObject, parseIniConfig, parseYamlConfig } from '../../../src/config/load-config.ts';
import { sections } from '../../../src/config/settings.ts';
import { problemsOf } from './problems-of.ts';

function survives(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.problems.length).toBeGreaterThan(0);
    for (const problem of error.problems)
      expect(problem.message).not.toMatch(/[\p{Cc}\p{Cf}\u2028]|undefined:|\[object/u);
  }
}

const names = fc.constantFrom(...Object.values(sections).flatMap((table) => table.map((setting) => setting.name)));
const values = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      'session',
      '5',
      '0',
      '-1',
      '1h',
      '64kB',
      'true',
      "'",
      '"',
      '*',
      '&a',
      '*a',
      '[a',
      '{',
      '}',
      '|',
      '>',
      '- b',
      '? c',
      '!t',
      '%',
      '@',
      '#',
      ',',
      '\t',
      '~',
    ),
  },
  { weight: 1, arbitrary: fc.string() },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
  // What JSON.stringify leaves as it is.
  { weight: 1, arbitrary: fc.constantFrom('\u007f', '\u0085', '\u009b', '\u2028', '\u202e', '\0', '\u001b[31m') },
);
const keys = fc.oneof(
  names,
  fc.constantFrom('pgbouncer', 'databases', 'users', '__proto__', 'constructor', '"*"', '<<', '? ', '- '),
  fc.string(),
);

describe('any text', () => {
  it('is read or refused', () => {
    const line = fc.tuple(
      fc.constantFrom('', '  ', '    ', '\t'),
      keys,
      fc.constantFrom(': ', ':', ' ', ': {'),
      values,
    );
    const texts = fc.array(line.map((parts) => parts.join(''))).map((lines) => lines.join('\n'));
    fc.assert(
      fc.property(fc.oneof(texts, fc.string({ unit: 'binary' }), values), (text) =>
        survives(() => parseYamlConfig(text, 'f.yaml')),
      ),
      { numRuns: 3000 },
    );
  });

  it('is read or refused as an .ini', () => {
    const line = fc.oneof(
      fc
        .tuple(fc.constantFrom('', '  '), keys, fc.constantFrom('=', ' = ', ' '), values)
        .map((parts) => parts.join('')),
      fc
        .tuple(fc.constantFrom('[', ' [[', '%include ', ';', '"'), keys, fc.constantFrom(']', '', ']]', '" ='))
        .map((parts) => parts.join('')),
      fc.constantFrom(
        '[pgbouncer]',
        '[databases]',
        '[users]',
        '[peers]',
        'app = host=a',
        '%include p.ini',
        '%include a.ini',
      ),
    );
    const texts = fc.array(line).map((lines) => lines.join('\n'));
    fc.assert(
      fc.property(fc.oneof(texts, fc.string({ unit: 'binary' })), texts, (text, included) =>
        survives(() => parseIniConfig(text, 'p.ini', { readFile: () => included })),
      ),
      { numRuns: 3000 },
    );
  });

  it('is read or refused with references', () => {
    const pieces = fc.array(
      fc.oneof(
        values,
        fc.constantFrom('${A}', '${B', '${C:-', '}', '$', '$${', '${file:x}', '${', '="', ' x=', 'postgres://', '@'),
      ),
    );
    fc.assert(
      fc.property(pieces, fc.string(), (parts, variable) => {
        const text = parts.join('');
        const yaml = JSON.stringify({
          pgbouncer: { listen_addr: text, server_reset_query: text },
          databases: { a: text },
        });
        survives(() => parseYamlConfig(yaml, 'f.yaml', { variables: { A: variable, B: variable } }));
      }),
      { numRuns: 2000 },
    );
  });

  it('is read or refused where a connection string is meant', () => {
    const pieces = fc.array(
      fc.oneof(names, values, fc.constantFrom('=', ' ', 'postgres://', '@', ':', '/', '?', '&', '%')),
    );
    fc.assert(
      fc.property(pieces, (parts) => survives(() => configFromObject({ databases: { app: parts.join('') } }))),
      { numRuns: 3000 },
    );
  });
});

describe('any value', () => {
  it('is read or refused', () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: true,
      withSparseArray: true,
      withTypedArray: true,
      withBoxedValues: true,
    });
    const entry = fc.dictionary(fc.oneof(names, fc.string()), fc.oneof(values, anything));
    const shaped = fc.record(
      {
        pgbouncer: entry,
        databases: fc.dictionary(fc.string(), fc.oneof(entry, anything)),
        users: fc.dictionary(fc.string(), entry),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(anything, shaped), (value) => survives(() => configFromObject(value))),
      { numRuns: 1000 },
    );
  });

  it('that is right is read', () => {
    const settings = fc.record({
      default_pool_size: fc.oneof(fc.nat(1000), fc.nat(1000).map(String)),
      query_timeout: fc.oneof(
        fc.nat(1000),
        fc.nat(1000).map((number) => `${number}ms`),
      ),
      pool_mode: fc.constantFrom('session', 'transaction', 'statement'),
    });
    const database = fc.record({ host: fc.domain(), port: fc.integer({ min: 1, max: 65_535 }) }, { requiredKeys: [] });
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 5 })
      .filter((text) => Buffer.byteLength(text) <= 63);
    fc.assert(
      fc.property(settings, fc.dictionary(name, database, { minKeys: 1 }), (pgbouncer, databases) => {
        const config = configFromObject({ pgbouncer, databases });
        const yaml = parseYamlConfig(JSON.stringify({ pgbouncer, databases }), 'f.yaml');
        expect(config.databases.size + (config.fallbackDatabase === null ? 0 : 1)).toBe(Object.keys(databases).length);
        expect({ ...yaml, path: null }).toEqual(config);
      }),
    );
  });
});

describe('a text that is made to take long', () => {
  const MB = 1024 * 1024;
  const laughs = Array.from({ length: 26 }, (_, level) => {
    return `a${level}: &a${level} [${level === 0 ? 'x' : `*a${level - 1}, `.repeat(10)}]`;
  });
  const bombs: [string, string][] = [
    ['aliases of aliases', laughs.join('\n')],
    ['an alias of itself', 'databases: &a [*a, *a]'],
    [
      'many aliases of much',
      `users: &u {${Array.from({ length: 20_000 }, (_, index) => `u${index}: `).join(', ')}}\ndatabases: {${Array.from({ length: 20_000 }, (_, index) => `d${index}: *u`).join(', ')}}`,
    ],
    ['[', '['.repeat(MB)],
    ['{', '{'.repeat(MB)],
    ['- ', '- '.repeat(MB / 2)],
    ['? ', '? '.repeat(MB / 2)],
    ['a: {', 'a: {'.repeat(MB / 4)],
    ['[[…]]', '['.repeat(MB / 2) + ']'.repeat(MB / 2)],
    ['deeper and deeper lines', Array.from({ length: 1400 }, (_, index) => `${' '.repeat(index)}a:`).join('\n')],
    ['many keys', `databases:\n${Array.from({ length: 40_000 }, (_, index) => `  k${index}:`).join('\n')}`],
    [
      'many minimums',
      `databases:\n${Array.from({ length: 15_000 }, (_, index) => `  k${index}: {min_pool_size: 1}`).join('\n')}`,
    ],
    ['one key', `databases:\n${'  k:\n'.repeat(100_000)}`],
    [
      'unknown names',
      `pgbouncer:\n${Array.from({ length: 15_000 }, (_, index) => `  server_idle_timeou${index}: 1`).join('\n')}`,
    ],
    ['a long name', `pgbouncer:\n  ? ${'server_idle_timeout'.repeat(50_000)}\n  : 1`],
    ['a long value', `databases:\n  app: {host: "${':'.repeat(1_000_000)}"}`],
    [
      'a long number',
      `pgbouncer: {listen_port: ${'1'.repeat(1_000_000)}, query_timeout: "${'1'.repeat(10_000)}", stats_period: "${' '.repeat(10_000)}"}`,
    ],
  ];

  it.each(bombs)(
    'is read or refused quickly: %s',
    (_name, text) => {
      const started = performance.now();
      survives(() => parseYamlConfig(text, 'f.yaml'));
      expect(performance.now() - started).toBeLessThan(8000);
    },
    20_000,
  );

  it('is refused for what it is', () => {
    const [billion, own, many, brackets] = bombs
      .slice(0, 4)
      .map(([, text]) => problemsOf(() => parseYamlConfig(text, 'f')));
    expect(billion).toEqual([expect.stringMatching(/aliases stand for more than 100000 values$/)]);
    expect(own?.[0]).toMatch(/^f:1:16: alias without an anchor before it/);
    expect(many).toEqual([expect.stringMatching(/aliases stand for more than 100000 values$/)]);
    expect(brackets).toEqual([expect.stringMatching(/^f:1:\d+: nested too deeply$/)]);
  });
});
