import { describe, expect, it } from 'vitest';
import { type ConfigDiff, diffConfig, type EntriesDiff } from '../../../src/config/config-diff.ts';
import { parseYamlConfig } from '../../../src/config/load-config.ts';

const BEFORE = `
pgbouncer: {default_pool_size: 5, listen_addr: "a, b", listen_port: 1, ignore_startup_parameters: "x, y"}
databases:
  same: {host: "a, b", pool_size: 3}
  moved: {host: a}
  gone: {host: a}
  "*": {host: a}
users:
  same: {pool_size: 1}
  changed: {pool_size: 1, query_timeout: 1}
peers:
  1: {host: a}
  2: {host: b}
`;
const AFTER = `
pgbouncer: {default_pool_size: 6, listen_addr: "a, b", listen_port: 2, ignore_startup_parameters: "y, x"}
databases:
  fresh: {host: a}
  moved: {host: "a, b", port: 7}
  same: {host: "a, b", pool_size: 3}
users:
  same: {pool_size: 1}
  changed: {query_timeout: 2}
peers:
  1: {host: a, port: 3}
  3: {host: b}
`;

function diff(before: string, after: string): ConfigDiff {
  return diffConfig(parseYamlConfig(before, 'before.yaml'), parseYamlConfig(after, 'after.yaml'));
}

function named(entry: { name: string } | { id: number }): string | number {
  return 'name' in entry ? entry.name : entry.id;
}

function inWords({ added, removed, changed }: EntriesDiff<{ name: string } | { id: number }>): string[] {
  return [
    ...added.map((entry) => `+${named(entry)}`),
    ...removed.map((entry) => `-${named(entry)}`),
    ...changed.map(({ before, after, settings }) => {
      expect(named(before)).toBe(named(after));
      return `${named(after)}: ${settings.map(({ setting, before: old, after: fresh }) => `${setting.name} ${JSON.stringify(old)} → ${JSON.stringify(fresh)}`).join(', ')}`;
    }),
  ];
}

describe('the difference of two configurations', () => {
  it('is empty between one and its like, read from another file', () => {
    expect(diff(BEFORE, BEFORE)).toEqual({
      settings: [],
      restart: [],
      databases: { added: [], removed: [], changed: [] },
      users: { added: [], removed: [], changed: [] },
      peers: { added: [], removed: [], changed: [] },
      isEmpty: true,
    });
  });

  it('tells settings that apply at once from those that need a restart', () => {
    const { settings, restart, isEmpty } = diff(BEFORE, AFTER);
    expect(settings.map(({ setting, before, after }) => [setting.name, before, after])).toEqual([
      ['default_pool_size', 5, 6],
      ['ignore_startup_parameters', ['x', 'y'], ['y', 'x']],
    ]);
    expect(restart.map(({ setting, before, after }) => [setting.name, before, after])).toEqual([['listen_port', 1, 2]]);
    expect(isEmpty).toBe(false);
  });

  it('says what was added, removed and changed in the other sections', () => {
    const { databases, users, peers } = diff(BEFORE, AFTER);
    expect(inWords(databases)).toEqual(['+fresh', '-gone', '-*', 'moved: host ["a"] → ["a","b"], port 5432 → 7']);
    expect(inWords(users)).toEqual(['changed: pool_size 1 → null, query_timeout 1000 → 2000']);
    expect(inWords(peers)).toEqual(['+3', '-2', '1: port 6432 → 3']);
  });

  it.each([
    ['a setting', 'pgbouncer: {pool_mode: transaction}\ndatabases: {a: }'],
    ['the fallback', 'databases: {a: , "*": }'],
    ['a user', 'databases: {a: }\nusers: {a: }'],
    ['a peer', 'databases: {a: }\npeers: {1: {host: a}}'],
  ])('is not empty for %s', (_what, text) => {
    expect(diff('databases: {a: }', text).isEmpty).toBe(false);
    expect(diff(text, 'databases: {a: }').isEmpty).toBe(false);
  });
});
