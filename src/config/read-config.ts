/**
 * Reads a tree into a configuration: sections, names, entries. It does not know what the tree was written in, nor what
 * the settings mean.
 */
import { checkConfig, type ReadConfig } from './check-config.ts';
import type { Config, DatabaseConfig, PeerConfig, UserConfig } from './config.ts';
import type { Place } from './config-error.ts';
import {
  describeNode,
  describeType,
  type MappingEntry,
  type MappingNode,
  quote,
  type TreeNode,
} from './config-tree.ts';
import { parseConnectionString } from './connection-string.ts';
import { FrozenMap } from './frozen-map.ts';
import { type ReadContext, type ReadSettings, readSettings } from './read-settings.ts';
import { textProblem } from './setting-kinds.ts';
import { MAX_DATABASE_NAME_BYTES, MAX_PEER_ID, MAX_USER_NAME_BYTES } from './settings.ts';
import { unknownSection } from './unknown-key.ts';

/** The sections, and what stands in each, in words. */
const sectionContents: ReadonlyMap<string, string> = new Map([
  ['pgbouncer', 'settings'],
  ['databases', 'the names of databases'],
  ['users', 'the names of users'],
  ['peers', 'the numbers of peers'],
]);
const FALLBACK = '*';
/** The pooler's own console. */
const RESERVED_DATABASE = 'pgbouncer';

/** Throws a ConfigError with every problem found. `path` is the file that the tree came from, or null. */
export function readConfig(root: TreeNode, path: string | null, context: ReadContext): Config {
  const sections = new Map<string, { readonly place: Place; readonly mapping: MappingNode }>();
  for (const { key, place, value } of asMapping(root, 'the sections pgbouncer, databases, users and peers', context)
    .entries) {
    const contents = sectionContents.get(key);
    if (contents === undefined) {
      context.problems.add(place, unknownSection(key));
      continue;
    }
    const mapping = asMapping(value, contents, context);
    sections.set(key, { place, mapping });
  }
  const nothing: MappingNode = { kind: 'mapping', place: root.place, entries: [] };
  const settings = readSettings('pgbouncer', sections.get('pgbouncer')?.mapping ?? nothing, context);
  const databaseSection = sections.get('databases');
  // PgBouncer looks for its servers' sockets where it has its own; our default is never without a host.
  const { unixSocketDir } = settings.values;
  const defaultHosts = Object.freeze(unixSocketDir === null ? [] : [unixSocketDir]);
  const databases = readDatabases(databaseSection?.mapping ?? nothing, defaultHosts, context);
  // PgBouncer runs without databases, for its console, but not without settings.
  if (context.format === 'ini' && !sections.has('pgbouncer')) {
    context.problems.add(root.place, 'the section [pgbouncer] is missing');
  } else if (context.format === 'yaml' && (databaseSection?.mapping.entries.length ?? 0) === 0) {
    context.problems.add(databaseSection?.place ?? root.place, 'no databases: "databases" needs at least one entry');
  }
  const users = readUsers(sections.get('users')?.mapping ?? nothing, context);
  const peers = readPeers(sections.get('peers')?.mapping ?? nothing, context);

  const entries = databases.map(({ values }) => values);
  const named = entries.filter(({ name }) => name !== FALLBACK);
  const config: Config = Object.freeze({
    settings: Object.freeze(settings.values),
    databases: new FrozenMap(named.map((database) => [database.name, database])),
    fallbackDatabase: entries.find(({ name }) => name === FALLBACK) ?? null,
    users: new FrozenMap(users.map((user) => [user.name, user])),
    peers: new FrozenMap(peers.map((peer) => [peer.id, peer])),
    warnings: Object.freeze(context.warnings),
    path,
  });
  const read: ReadConfig = { format: context.format, config, settings, databases, place: root.place };
  checkConfig(read, context.problems);
  context.problems.throwIfAny();
  return config;
}

/** Nothing at all (a key without a value) counts as empty. */
function asMapping(node: TreeNode, what: string, context: ReadContext): MappingNode {
  if (node.kind === 'mapping') return node;
  if (node.kind !== 'scalar' || node.value !== null) {
    context.problems.add(node.place, `expected a mapping with ${what}, found ${describeType(node)}`);
  }
  return { kind: 'mapping', place: node.place, entries: [] };
}

function readDatabases(
  section: MappingNode,
  defaultHosts: readonly string[],
  context: ReadContext,
): ReadSettings<DatabaseConfig>[] {
  return section.entries.map(({ key: name, place, value }) => {
    if (name === RESERVED_DATABASE) context.problems.add(place, `the database name ${quote(name)} is reserved`);
    checkName(name, 'database', MAX_DATABASE_NAME_BYTES, place, context);
    const entry = readEntry(value, context);
    const read = readSettings('databases', entry.mapping, entry.context);
    const hosts = read.values.hosts.length > 0 ? read.values.hosts : defaultHosts;
    return { ...read, values: Object.freeze({ name, ...read.values, hosts }) };
  });
}

interface Entry {
  readonly mapping: MappingNode;
  /** For what is in the mapping. */
  readonly context: ReadContext;
}

/** A mapping, or a text in libpq's syntax that is read as one. All its settings are then where the text is. */
function readEntry(node: TreeNode, context: ReadContext): Entry {
  const { place } = node;
  const nothing: Entry = { mapping: { kind: 'mapping', place, entries: [] }, context };
  if (node.kind === 'mapping') return { mapping: node, context };
  if (node.kind !== 'scalar' || (typeof node.value !== 'string' && node.value !== null)) {
    context.problems.add(place, `expected a mapping or a connection string, found ${describeNode(node)}`);
    return nothing;
  }
  const expanded = context.interpolation?.expandConnectionString(node) ?? node;
  if (expanded.kind !== 'scalar' || typeof expanded.value !== 'string') return nothing;
  const parsed = parseConnectionString(expanded.value, context.format === 'ini' ? 'pgbouncer' : 'libpq');
  if ('problem' in parsed) {
    context.problems.add(place, `bad connection string: ${parsed.problem}`);
    return nothing;
  }
  const from = expanded.reference === undefined ? {} : { keyReference: expanded.reference };
  const entries = parsed.parameters.map(({ key, value }): MappingEntry => {
    return { key, ...from, place, value: { ...expanded, value, text: value } };
  });
  // Nothing is put in twice: what a variable holds is no reference.
  const within: ReadContext = { ...context, interpolation: null };
  return {
    mapping: { kind: 'mapping', place, entries: context.format === 'ini' ? lastOfEach(entries) : entries },
    context: within,
  };
}

/** PgBouncer lets the later one count. */
function lastOfEach(entries: readonly MappingEntry[]): MappingEntry[] {
  return [...new Map(entries.map((entry) => [entry.key, entry])).values()];
}

function readUsers(section: MappingNode, context: ReadContext): UserConfig[] {
  return section.entries.map(({ key: name, place, value }) => {
    checkName(name, 'user', MAX_USER_NAME_BYTES, place, context);
    const entry =
      context.format === 'ini'
        ? readEntry(value, context)
        : { mapping: asMapping(value, 'settings of the user', context), context };
    const { values } = readSettings('users', entry.mapping, entry.context);
    return Object.freeze({ name, ...values });
  });
}

function readPeers(section: MappingNode, context: ReadContext): PeerConfig[] {
  const peers: PeerConfig[] = [];
  const ids = new Set<number>();
  for (const { key, place, value } of section.entries) {
    const id = /^\d{1,5}$/.test(key) ? Number(key) : 0;
    if (id < 1 || id > MAX_PEER_ID) {
      context.problems.add(place, `bad peer_id ${quote(key)}: expected a whole number from 1 to ${MAX_PEER_ID}`);
      continue;
    }
    if (ids.has(id)) context.problems.add(place, `the peer ${id} is given twice`);
    ids.add(id);
    const entry = readEntry(value, context);
    const { values } = readSettings('peers', entry.mapping, entry.context);
    if (values.host === null) context.problems.add(place, `the peer ${quote(key)} needs a host`);
    peers.push(Object.freeze({ id, ...values, host: values.host ?? '' }));
  }
  return peers;
}

function checkName(name: string, what: string, maxBytes: number, place: Place, context: ReadContext): void {
  const problem = name === '' ? 'it is empty' : textProblem(name, maxBytes);
  if (problem !== null) context.problems.add(place, `bad ${what} name ${quote(name)}: ${problem}`);
}
