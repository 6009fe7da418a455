/** Reads a mapping by a table of settings. It knows no setting by name and no section but by its table. */
import type { ConfigProblem, Place } from './config-error.ts';
import { type MappingNode, quote, type TreeNode } from './config-tree.ts';
import { readIniScalar } from './ini-scalar.ts';
import type { Interpolation } from './interpolation.ts';
import type { ProblemList } from './problem-list.ts';
import { type ConfigFormat, defaultIn, type Setting, type ValuesOf } from './setting.ts';
import { aliases, type SectionName, sections } from './settings.ts';
import { unknownSetting } from './unknown-key.ts';

export interface ReadContext {
  readonly format: ConfigFormat;
  /** Where relative paths start. */
  readonly folder: string;
  readonly problems: ProblemList;
  /** Collected, as the problems are. */
  readonly warnings: ConfigProblem[];
  /** Null where `${NAME}` is just a text. */
  readonly interpolation: Interpolation | null;
}

/** Values by key, complete: what is not given, or was wrong, has its default. */
export interface ReadSettings<Values> {
  readonly values: Values;
  /** Of the whole. */
  readonly place: Place;
  /** Where each setting was given, by name. */
  readonly places: ReadonlyMap<string, Place>;
  /** Those that were given wrongly: nothing should be concluded from their defaults. */
  readonly invalid: ReadonlySet<string>;
}

const tables: Readonly<Record<SectionName, ReadonlyMap<string, Setting>>> = {
  pgbouncer: byName(sections.pgbouncer),
  databases: byName(sections.databases),
  users: byName(sections.users),
  peers: byName(sections.peers),
};

function byName(settings: readonly Setting[]): ReadonlyMap<string, Setting> {
  return new Map(settings.map((setting) => [setting.name, setting]));
}

export function readSettings<Section extends SectionName>(
  section: Section,
  mapping: MappingNode,
  context: ReadContext,
): ReadSettings<ValuesOf<(typeof sections)[Section]>> {
  const table = tables[section];
  const given = new Map<string, unknown>();
  const places = new Map<string, Place>();
  const invalid = new Set<string>();
  for (const { key, keyReference = null, place, value } of mapping.entries) {
    const alias = section === 'pgbouncer' || section === 'peers' ? undefined : aliases.get(key);
    const setting = table.get(alias ?? key);
    if (setting === undefined) {
      context.problems.add(place, unknownSetting(key, section, keyReference));
      continue;
    }
    if (places.has(setting.name)) {
      context.problems.add(place, `${quote(setting.name)} is given twice`);
      continue;
    }
    places.set(setting.name, value.place);
    const outcome = readValue(setting, value, section, context);
    if ('value' in outcome) {
      given.set(setting.key, outcome.value);
      warnOf(setting, place, outcome.value, context);
      continue;
    }
    invalid.add(setting.name);
    context.problems.add(value.place, `bad value for ${quote(key)}: ${outcome.problem}`);
  }
  const entries = sections[section].map((setting: Setting) => {
    const { key } = setting;
    return [key, given.has(key) ? given.get(key) : defaultIn(context.format, setting)];
  });
  // The table makes both the values and their type, and this is the one place where the two meet.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const values = Object.fromEntries(entries) as ValuesOf<(typeof sections)[Section]>;
  return { values, place: mapping.place, places, invalid };
}

function readValue(
  setting: Setting,
  written: TreeNode,
  section: SectionName,
  context: ReadContext,
): ReturnType<Setting['kind']['parse']> {
  const expanded = context.interpolation?.expand(written) ?? written;
  const node = context.format === 'ini' ? readIniScalar(expanded, setting.kind.type, section) : expanded;
  const outcome = setting.kind.parse(node, context.folder);
  const reference = referenceIn(node);
  if (reference === null || 'value' in outcome) return outcome;
  // Any other words might repeat the value.
  return { problem: `expected ${setting.kind.values}, found something else in ${reference}` };
}

/** The first that the value was made of; null if all of it stands in the file. */
function referenceIn(node: TreeNode): string | null {
  if (node.kind === 'list') {
    for (const item of node.items) {
      const reference = referenceIn(item);
      if (reference !== null) return reference;
    }
  }
  return node.kind === 'scalar' ? (node.reference ?? null) : null;
}

function warnOf(
  { name, kind, instead, iniDefault }: Setting,
  place: Place,
  value: unknown,
  context: ReadContext,
): void {
  if (instead === null || kind.format(value) === kind.format(iniDefault)) return;
  context.warnings.push(Object.freeze({ ...place, message: `${quote(name)} has no effect: ${instead}` }));
}
