/** Says why a key is not one of those that may stand where it stands. It only makes words. */
import { quote } from './config-tree.ts';
import { nearestName } from './nearest-name.ts';
import { type SectionName, sections } from './settings.ts';
import { libpqParameters, unsupportedSettings } from './unsupported-settings.ts';

/** `reference`: where the key came from, if it was put in for one: then it may be a piece of a secret. */
export function unknownSetting(key: string, section: SectionName, reference: string | null): string {
  if (key === '<<') return 'YAML merge keys ("<<") are not supported';
  if (unsupportedSettings[section].has(key)) return `PgBouncer's setting ${quote(key)} is not supported yet`;
  if (section === 'databases' && libpqParameters.has(key)) {
    return `libpq's parameter ${quote(key)} is not supported here yet`;
  }
  const homes = sectionNames.filter((name) => sections[name].some((setting) => setting.name === key));
  if (homes.length > 0)
    return `${quote(key)} is not a setting of ${entryOf[section]}, but of ${new Intl.ListFormat('en').format(homes.map((home) => entryOf[home]))}`;
  if (reference !== null) return `unknown setting in ${reference}`;
  return `unknown setting ${quote(key)}${suggestion(
    key,
    sections[section].map((setting) => setting.name),
  )}`;
}

export function unknownSection(key: string): string {
  if (sections.pgbouncer.some((setting) => setting.name === key))
    return `${quote(key)} belongs into the section "pgbouncer"`;
  return `unknown section ${quote(key)}${suggestion(key, sectionNames)}`;
}

const sectionNames: readonly SectionName[] = ['pgbouncer', 'databases', 'users', 'peers'];
const entryOf: Readonly<Record<SectionName, string>> = {
  pgbouncer: 'the section "pgbouncer"',
  databases: 'a database',
  users: 'a user',
  peers: 'a peer',
};

function suggestion(key: string, names: readonly string[]): string {
  const nearest = nearestName(key, names);
  return nearest === null ? '' : ` (did you mean ${quote(nearest)}?)`;
}
