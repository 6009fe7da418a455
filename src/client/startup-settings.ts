/**
 * Which parameters a startup packet asks for, in the order in which PostgreSQL applies them. It refuses no name and no
 * value: whether there is such a parameter is the server's to say.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import type { Settings } from '../config/settings.ts';
import { parseStartupOptions } from '../protocol/startup-options.ts';
import type { ParameterTable } from '../server/parameter-table.ts';
import type { StartupSet } from '../server/startup-set.ts';
import { foldName } from '../server/wishes.ts';
import type { Setting } from './adjustment.ts';

export type StartupRules = Pick<
  Settings,
  'applicationNameAddHost' | 'ignoreStartupParameters' | 'trackExtraParameters'
>;

/** Not parameters, in this spelling only. */
const NOT_SETTINGS: ReadonlySet<string> = new Set(['user', 'database', 'replication', 'options']);
const PROTOCOL_OPTION = '_pq_.';

/** PgBouncer tracks these, so that ignore_startup_parameters has no meaning for them. */
const ALWAYS_TRACKED: readonly string[] = [
  'client_encoding',
  'datestyle',
  'timezone',
  'standard_conforming_strings',
  'application_name',
];

/** `host` is the client's address with its port, for application_name_add_host. */
export function startupSettings(
  packet: ReadonlyMap<string, string>,
  rules: StartupRules,
  host: string,
): { readonly settings: readonly Setting[] } | { readonly refusal: ErrorReport } {
  const ignored = new Set(rules.ignoreStartupParameters.map(foldName));
  const tracked = new Set([...ALWAYS_TRACKED, ...rules.trackExtraParameters.map(foldName)]);
  const isKept = ({ name }: Setting): boolean => tracked.has(foldName(name)) || !ignored.has(foldName(name));
  const ignoresOptions = ignored.has('options');
  // PostgreSQL reads options first, wherever in the packet they stand.
  const options = parseStartupOptions(packet.get('options') ?? '');
  if (options.problem !== null && !ignoresOptions) return { refusal: errors.invalidStartupOptions(options.problem) };
  const settings = options.settings.filter(
    (setting) => isKept(setting) && (!ignoresOptions || tracked.has(foldName(setting.name))),
  );
  for (const [name, value] of packet) {
    if (NOT_SETTINGS.has(name) || name.startsWith(PROTOCOL_OPTION)) continue;
    if (isKept({ name, value })) settings.push({ name, value });
  }
  if (rules.applicationNameAddHost) {
    const application = settings.findLast(({ name }) => foldName(name) === 'application_name')?.value ?? 'app';
    settings.push({ name: 'application_name', value: `${application} - ${host}` });
  }
  return { settings };
}

/** What of `settings` has to be set on servers that were opened with `set`, or is known from what they report. */
export function settingsBeside(
  set: StartupSet,
  settings: readonly Setting[],
  pool: { readonly settings: PoolSettings; readonly parameterTable: ParameterTable },
): readonly Setting[] {
  // What connect_query has set would win over a startup packet.
  if (pool.settings.connectQuery !== null) return settings;
  return settings.filter(({ name }) => !set.has(name) || pool.parameterTable.find(name) >= 0);
}

/** What a server of the client's own is told in its words: everything but who it is. */
export function replicationParameters(startup: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...startup].filter(([name]) => name !== 'user' && name !== 'database'));
}
