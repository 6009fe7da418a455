/**
 * Writes a configuration down as YAML that is read into the same configuration again: what is as our defaults are is left
 * out, all else is there. It knows no file and no value of its own.
 */
import type { Config } from './config.ts';
import type { Setting } from './setting.ts';
import { sections } from './settings.ts';

export interface WrittenYaml {
  readonly text: string;
  /** There are passwords in it. */
  readonly hasSecrets: boolean;
}

const SECRETS: ReadonlySet<string> = new Set(['password']);
const INDENT = '  ';

/** `source` is told to the reader. */
export function writeYaml(config: Config, source: string): WrittenYaml {
  const { settings, databases, fallbackDatabase, users, peers } = config;
  const allDatabases = [...databases.values()];
  if (fallbackDatabase !== null) allDatabases.push(fallbackDatabase);
  const lines = [
    `# Made from ${JSON.stringify(source)} by "tsbouncer convert". It has all that differs from the defaults of a YAML file, and so`,
    '# behaves as that file did. Relative paths were replaced, and included files are part of it.',
    'pgbouncer:',
    ...writeSettings(sections.pgbouncer, settings, INDENT),
    '',
    'databases:',
    ...allDatabases.flatMap((database) => writeEntry(database.name, sections.databases, database)),
  ];
  if (users.size > 0) {
    lines.push('', 'users:', ...[...users.values()].flatMap((user) => writeEntry(user.name, sections.users, user)));
  }
  if (peers.size > 0) {
    lines.push(
      '',
      'peers:',
      ...[...peers.values()].flatMap((peer) => writeEntry(String(peer.id), sections.peers, peer)),
    );
  }
  const hasSecrets = [...allDatabases, ...users.values()].some(({ password }) => password !== null);
  return { text: `${lines.join('\n')}\n`, hasSecrets };
}

function writeEntry(name: string, table: readonly Setting[], values: object): string[] {
  const lines = writeSettings(table, values, INDENT + INDENT);
  return [`${INDENT}${writeText(name)}:`, ...lines];
}

function writeSettings(table: readonly Setting[], values: object, indent: string): string[] {
  const given = new Map<string, unknown>(Object.entries(values));
  return table.flatMap((setting) => {
    const { name, kind, default: ours, instead } = setting;
    const text = kind.format(given.get(setting.key));
    if (text === kind.format(ours)) return [];
    const comment = instead === null ? [] : [`${indent}# has no effect: ${instead}`];
    return [...comment, `${indent}${name}: ${writeText(text, SECRETS.has(name))}`];
  });
}

/** Plain where that can be nothing but this text or number. */
function writeText(text: string, isSecret = false): string {
  const isPlain = !isSecret && (/^[A-Za-z][\w.-]*$/.test(text) || /^(?:0|[1-9]\d{0,8})$/.test(text));
  if (isPlain && !/^(?:true|false|null)$/i.test(text)) return text;
  if (/^(?:true|false)$/.test(text)) return text;
  return JSON.stringify(text.replaceAll('${', () => '$${'));
}
