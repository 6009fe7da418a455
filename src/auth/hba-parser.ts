/**
 * Reads pg_hba.conf as PgBouncer supports it: records `local`, `host`, `hostssl` and `hostnossl`; databases, users, addresses,
 * methods and options as listed in its documentation ("HBA file format"). It opens no file: whoever calls it reads them.
 *
 * Unlike PgBouncer, which leaves out a line that it does not understand, every such line is a problem, and then there are
 * no rules: a `reject` that is left out lets in whom it should have kept out.
 */
import type { HbaConnection, HbaMethod, HbaRule, NameList } from './hba-rules.ts';
import { Network } from './network.ts';
import { type RuleLine, type RuleWord, readRuleLines } from './rule-lines.ts';
import type { RuleProblem } from './rule-problem.ts';

/** The text of a file named with `@`, and what it is called; throws if it cannot be read. */
export type ReadNameFile = (name: string, namedIn: string) => { readonly path: string; readonly text: string };

type Kinds = ReadonlySet<HbaConnection['kind']>;

const NETWORK: Kinds = new Set(['plain', 'tls']);

const RECORDS: ReadonlyMap<string, Kinds> = new Map([
  ['local', new Set<HbaConnection['kind']>(['unix'])],
  ['host', NETWORK],
  ['hostssl', new Set<HbaConnection['kind']>(['tls'])],
  ['hostnossl', new Set<HbaConnection['kind']>(['plain'])],
  // There is no GSSAPI encryption here: the first never matches, the second is `host`.
  ['hostgssenc', new Set<HbaConnection['kind']>()],
  ['hostnogssenc', NETWORK],
]);

const METHODS: ReadonlyMap<string, HbaMethod> = new Map([
  ['trust', 'trust'],
  ['reject', 'reject'],
  ['password', 'plain'],
  ['plain', 'plain'],
  ['md5', 'md5'],
  ['scram-sha-256', 'scram-sha-256'],
  ['cert', 'cert'],
  ['peer', 'peer'],
]);

/** Files that name files: PostgreSQL allows ten. */
const MAX_FILE_DEPTH = 10;

/** What is wrong with the line at hand. */
class LineError extends Error {}

export function parseHba(
  text: string,
  file: string,
  readNameFile: ReadNameFile,
): { readonly rules: readonly HbaRule[]; readonly problems: readonly RuleProblem[] } {
  const rules: HbaRule[] = [];
  const problems: RuleProblem[] = [];
  for (const entry of readRuleLines(text)) {
    try {
      if ('problem' in entry) throw new LineError(entry.problem);
      rules.push(parseRule(entry, file, readNameFile));
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      problems.push({ file, line: entry.line, message: error.message });
    }
  }
  return { rules, problems };
}

function parseRule({ line, fields }: RuleLine, file: string, readNameFile: ReadNameFile): HbaRule {
  const kinds = RECORDS.get(single(fields[0], 'the record type'));
  if (kinds === undefined) throw new LineError(`unknown record type "${fields[0]![0]!.text}"`);
  const isLocal = kinds.has('unix');
  const databases = readNames(fields[1], 'database', file, readNameFile);
  const users = readNames(fields[2], 'user', file, readNameFile);
  const { network, used } = isLocal ? { network: null, used: 0 } : readAddress(fields[3], fields[4]);
  const name = single(fields[3 + used], 'the method');
  const method = METHODS.get(name);
  if (method === undefined) throw new LineError(`method "${name}" is not supported`);
  if (method === 'peer' && !isLocal) throw new LineError('method "peer" works on Unix sockets only (record "local")');
  if (method === 'cert' && isLocal) throw new LineError('method "cert" needs TLS, which a Unix socket does not have');
  const map = readOptions(fields.slice(4 + used), method).get('map') ?? null;
  return { line, kinds, databases, users, network, method, map };
}

/** The names of one column, with what its files hold. */
function readNames(
  field: readonly RuleWord[] | undefined,
  column: 'database' | 'user',
  file: string,
  readNameFile: ReadNameFile,
): NameList {
  if (field === undefined) throw new LineError(`the ${column} is missing`);
  const list = { names: new Set<string>(), all: false, sameUser: false, replication: false };
  addNames(list, field, column, file, readNameFile, 0);
  return list;
}

function addNames(
  list: { names: Set<string>; all: boolean; sameUser: boolean; replication: boolean },
  words: readonly RuleWord[],
  column: 'database' | 'user',
  file: string,
  readNameFile: ReadNameFile,
  depth: number,
): void {
  for (const { text, quoted } of words) {
    if (quoted) list.names.add(text);
    else if (text === 'all') list.all = true;
    else if (column === 'database' && text === 'sameuser') list.sameUser = true;
    else if (column === 'database' && text === 'replication') list.replication = true;
    else if (column === 'database' && (text === 'samerole' || text === 'samegroup')) {
      throw new LineError(`"${text}" is not supported: nobody here knows who belongs to a role`);
    } else if (text.startsWith('+')) throw new LineError(`"${text}": roles and groups are not supported`);
    else if (text.startsWith('/')) throw new LineError(`"${text}": regular expressions are not supported`);
    else if (text.startsWith('@')) {
      if (depth === MAX_FILE_DEPTH) throw new LineError(`files are named ${MAX_FILE_DEPTH} deep`);
      const inner = openNameFile(text.slice(1), file, readNameFile);
      for (const entry of readRuleLines(inner.text)) {
        if ('problem' in entry) throw new LineError(`${inner.path}:${entry.line}: ${entry.problem}`);
        addNames(list, entry.fields.flat(), column, inner.path, readNameFile, depth + 1);
      }
    } else list.names.add(text);
  }
}

function openNameFile(name: string, file: string, readNameFile: ReadNameFile): ReturnType<ReadNameFile> {
  try {
    return readNameFile(name, file);
  } catch (error) {
    throw new LineError(`"@${name}" cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** `used`: how many columns the address takes. */
function readAddress(
  field: readonly RuleWord[] | undefined,
  following: readonly RuleWord[] | undefined,
): { readonly network: Network | null; readonly used: number } {
  const address = single(field, 'the address');
  if (address === 'all' && !field![0]!.quoted) return { network: null, used: 1 };
  if (address === 'samehost' || address === 'samenet') throw new LineError(`address "${address}" is not supported`);
  if (address.includes('/')) {
    const network = Network.fromCidr(address);
    if (network === null) throw new LineError(`"${address}" is not a network`);
    return { network, used: 1 };
  }
  const network = Network.fromMask(address, following?.[0]?.text ?? '');
  if (network !== null) return { network, used: 2 };
  if (/^[\d.]+$|:/.test(address)) {
    throw new LineError(`address "${address}" needs a mask: "${address}/${address.includes(':') ? 128 : 32}"`);
  }
  throw new LineError(`address "${address}": host names are not supported`);
}

function readOptions(fields: RuleLine['fields'], method: HbaMethod): Map<string, string> {
  const options = new Map<string, string>();
  for (const field of fields) {
    // A comma is not special in an option.
    const text = field.map((word) => word.text).join(',');
    const equals = text.indexOf('=');
    if (equals < 1) throw new LineError(`"${text}" is not an option of the form name=value`);
    const name = text.slice(0, equals);
    if (name !== 'map' || (method !== 'cert' && method !== 'peer')) {
      throw new LineError(`method "${method}" has no option "${name}"`);
    }
    if (options.has(name)) throw new LineError(`option "${name}" is given twice`);
    options.set(name, text.slice(equals + 1));
  }
  return options;
}

function single(field: readonly RuleWord[] | undefined, what: string): string {
  if (field === undefined) throw new LineError(`${what} is missing`);
  if (field.length !== 1) throw new LineError(`${what} is a list`);
  return field[0]!.text;
}
