/** Reads a mapping by a table of settings. It knows no setting by name and no section but by its table. */
import type { Place } from './config-error.ts';
import { type MappingNode, quote } from './config-tree.ts';
import type { ProblemList } from './problem-list.ts';
import { aliases, type SectionName, type Setting, sections, type ValuesOf } from './settings.ts';
import { unknownSetting } from './unknown-key.ts';

export interface ReadContext {
  /** Where relative paths start. */
  readonly folder: string;
  readonly problems: ProblemList;
}

/** Values by key, complete: what is not given, or was wrong, has its default. */
export interface ReadSettings<Values> {
  readonly values: Values;
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
  for (const { key, place, value } of mapping.entries) {
    const alias = section === 'pgbouncer' || section === 'peers' ? undefined : aliases.get(key);
    const setting = table.get(alias ?? key);
    if (setting === undefined) {
      context.problems.add(place, unknownSetting(key, section));
      continue;
    }
    if (places.has(setting.name)) {
      context.problems.add(place, `${quote(setting.name)} is given twice`);
      continue;
    }
    places.set(setting.name, value.place);
    const outcome = setting.kind.parse(value, context.folder);
    if ('value' in outcome) {
      given.set(setting.key, outcome.value);
      continue;
    }
    invalid.add(setting.name);
    context.problems.add(value.place, `bad value for ${quote(key)}: ${outcome.problem}`);
  }
  const entries = sections[section].map(({ key, default: value }) => [key, given.has(key) ? given.get(key) : value]);
  // The table makes both the values and their type, and this is the one place where the two meet.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const values = Object.fromEntries(entries) as ValuesOf<(typeof sections)[Section]>;
  return { values, places, invalid };
}
