/**
 * Settings that are given beside a file: on the command line and in the environment. They win over the file. This knows
 * where they come from and nothing of what they mean.
 */
import type { Place } from './config-error.ts';
import type { MappingEntry, MappingNode, TreeNode } from './config-tree.ts';
import { nearestName } from './nearest-name.ts';
import { sections } from './settings.ts';
import { unsupportedSettings } from './unsupported-settings.ts';

export type Variables = Readonly<Record<string, string | undefined>>;

const PREFIX = 'TSBOUNCER_';
/**
 * Kubernetes sets these for a service named `tsbouncer`, in the environment of every pod of its namespace; they are
 * no settings of ours.
 */
const SERVICE_LINK = /^(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)$/;
const names: ReadonlySet<string> = new Set([
  ...sections.pgbouncer.map(({ name }) => name),
  ...unsupportedSettings.pgbouncer,
]);
const MAIN_SECTION = 'pgbouncer';

/**
 * `TSBOUNCER_POOL_MODE` is the setting `pool_mode`. An empty variable counts as one that is not set. A name that is nearly a
 * setting's is passed on, to be refused; one that is not is somebody else's.
 */
export function settingsFromEnvironment(variables: Variables): MappingEntry[] {
  const entries: MappingEntry[] = [];
  for (const [variable, value] of Object.entries(variables)) {
    if (!variable.startsWith(PREFIX) || value === undefined || value === '') continue;
    const rest = variable.slice(PREFIX.length);
    const name = rest.toLowerCase();
    if (!names.has(name) && (SERVICE_LINK.test(rest) || nearestName(name, names) === null)) continue;
    const place = environmentPlace(variable);
    // Whatever is wrong with it, its text is not shown.
    entries.push({
      key: name,
      place,
      value: { kind: 'scalar', place, value, text: value, reference: `\${${variable}}` },
    });
  }
  return entries;
}

export function environmentPlace(variable: string): Place {
  return Object.freeze({ file: `environment variable ${variable}`, line: null, column: null, path: null });
}

export function settingFromCommandLine(option: string, key: string, value: string): MappingEntry {
  const place: Place = Object.freeze({ file: `option ${option}`, line: null, column: null, path: null });
  return { key, place, value: { kind: 'scalar', place, value, text: value } };
}

/** The tree with these in its main section, in the place of what it says itself; the last of several counts. */
export function withGiven(root: TreeNode, given: readonly MappingEntry[]): TreeNode {
  if (given.length === 0 || root.kind !== 'mapping') return root;
  const section = root.entries.find(({ key }) => key === MAIN_SECTION);
  const written = section?.value ?? { kind: 'mapping', place: root.place, entries: [] };
  const isEmpty = written.kind === 'scalar' && written.value === null;
  // Anything else is reported as what it is.
  if (written.kind !== 'mapping' && !isEmpty) return root;
  const byName = new Map(given.map((entry) => [entry.key, entry]));
  const kept = written.kind === 'mapping' ? written.entries.filter(({ key }) => !byName.has(key)) : [];
  const value: MappingNode = { kind: 'mapping', place: written.place, entries: [...kept, ...byName.values()] };
  const entry: MappingEntry = { key: MAIN_SECTION, place: section?.place ?? root.place, value };
  return { ...root, entries: [...root.entries.filter(({ key }) => key !== MAIN_SECTION), entry] };
}
