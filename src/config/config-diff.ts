/**
 * What is different between two configurations: the one that is in force and the one that was read. It only compares;
 * it does not know what a change does, nor who has to be told.
 */
import type { Config, DatabaseConfig, PeerConfig, UserConfig } from './config.ts';
import type { Setting } from './setting.ts';
import { sections } from './settings.ts';

interface SettingChange {
  /** From the table: name, key and kind, and with `applies` whether the new value needs a restart. */
  readonly setting: Setting;
  readonly before: unknown;
  readonly after: unknown;
}

interface EntryChange<Entry> {
  readonly before: Entry;
  readonly after: Entry;
  /** Never empty. */
  readonly settings: readonly SettingChange[];
}

/** Entries of one section, in the order of the newer configuration (`removed`: of the older). */
export interface EntriesDiff<Entry> {
  readonly added: readonly Entry[];
  readonly removed: readonly Entry[];
  readonly changed: readonly EntryChange<Entry>[];
}

export interface ConfigDiff {
  /** Of the section `pgbouncer`; those that apply while running. */
  readonly settings: readonly SettingChange[];
  /** Of the section `pgbouncer`; those whose old value holds until the process starts again. */
  readonly restart: readonly SettingChange[];
  /** The fallback `*` is one of them. */
  readonly databases: EntriesDiff<DatabaseConfig>;
  readonly users: EntriesDiff<UserConfig>;
  readonly peers: EntriesDiff<PeerConfig>;
  /** Nothing is different. */
  readonly isEmpty: boolean;
}

export function diffConfig(before: Config, after: Config): ConfigDiff {
  const all = diffSettings(sections.pgbouncer, before.settings, after.settings);
  const databases = diffEntries(sections.databases, databasesOf(before), databasesOf(after));
  const users = diffEntries(sections.users, before.users, after.users);
  const peers = diffEntries(sections.peers, before.peers, after.peers);
  const entries: readonly EntriesDiff<unknown>[] = [databases, users, peers];
  return {
    settings: all.filter(({ setting }) => setting.applies === 'reload'),
    restart: all.filter(({ setting }) => setting.applies === 'restart'),
    databases,
    users,
    peers,
    isEmpty:
      all.length === 0 &&
      entries.every(({ added, removed, changed }) => added.length + removed.length + changed.length === 0),
  };
}

function databasesOf({ databases, fallbackDatabase }: Config): ReadonlyMap<string, DatabaseConfig> {
  if (fallbackDatabase === null) return databases;
  return new Map([...databases, [fallbackDatabase.name, fallbackDatabase]]);
}

function diffEntries<Key, Entry extends object>(
  table: readonly Setting[],
  before: ReadonlyMap<Key, Entry>,
  after: ReadonlyMap<Key, Entry>,
): EntriesDiff<Entry> {
  const added: Entry[] = [];
  const changed: EntryChange<Entry>[] = [];
  for (const [key, entry] of after) {
    const old = before.get(key);
    if (old === undefined) {
      added.push(entry);
      continue;
    }
    const settings = diffSettings(table, old, entry);
    if (settings.length > 0) changed.push({ before: old, after: entry, settings });
  }
  const removed = [...before].filter(([key]) => !after.has(key)).map(([, entry]) => entry);
  return { added, removed, changed };
}

function diffSettings(table: readonly Setting[], before: object, after: object): SettingChange[] {
  const old = new Map<string, unknown>(Object.entries(before));
  const fresh = new Map<string, unknown>(Object.entries(after));
  const changes: SettingChange[] = [];
  for (const setting of table) {
    const change = { setting, before: old.get(setting.key), after: fresh.get(setting.key) };
    if (!isSameValue(change.before, change.after)) changes.push(change);
  }
  return changes;
}

/** Values are scalars, or frozen lists of them. */
function isSameValue(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return Object.is(a, b);
  return a.length === b.length && a.every((item, index) => Object.is(item, b[index]));
}
