/**
 * The kinds of value that a setting can have: what is accepted, how it is stored, how it is written back. A kind knows
 * neither the setting's name nor where it stands.
 */
import { resolve } from 'node:path';
import { MAX_UNIX_PATH_BYTES, unixSocketPath } from '../base/unix-path.ts';
import { describeNode, describeType, quote, type TreeNode } from './config-tree.ts';

type Outcome<T> = { readonly value: T } | { readonly problem: string };

export interface Kind<T> {
  /** Decides the suffix of the key: durations are kept in milliseconds, sizes in bytes. */
  readonly type: 'boolean' | 'integer' | 'duration' | 'size' | 'choice' | 'text' | 'path' | 'address' | 'list';
  /** For the documentation: the values or the unit. */
  readonly values: string;
  /** The problem of a bad value says what was expected and found. `folder` is where relative paths start. */
  parse(node: TreeNode, folder: string): Outcome<T>;
  /** As `parse` takes it. */
  format(value: T): string;
}

const MAX_LISTED_NAME_BYTES = 255;
/** PgBouncer's MAX_PASSWORD; a token of a cloud has some thousand bytes. */
const MAX_SECRET_BYTES = 65_530;
const MAX_INTEGER = 2_147_483_647;
/** Some 30 years: more is a slip, and sums of a few of them stay exact. */
const MAX_DURATION_MS = 1e12;

function textOf(node: TreeNode): string | null {
  return node.kind === 'scalar' ? node.text : null;
}

function unexpected(expected: string, node: TreeNode): { readonly problem: string } {
  return { problem: `expected ${expected}, found ${describeNode(node)}` };
}

const WORDS_FOR_TRUE = new Set(['true', 'yes', 'on', '1']);
const WORDS_FOR_FALSE = new Set(['false', 'no', 'off', '0']);

export const boolean: Kind<boolean> = {
  type: 'boolean',
  values: 'true, false',
  parse(node) {
    const word = node.kind === 'scalar' ? String(node.value).toLowerCase() : '';
    if (WORDS_FOR_TRUE.has(word)) return { value: true };
    if (WORDS_FOR_FALSE.has(word)) return { value: false };
    return unexpected('true or false', node);
  },
  format: String,
};

export function integer(min: number, max = MAX_INTEGER): Kind<number> {
  const range = max === MAX_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
  return {
    type: 'integer',
    values: `whole number ${range}`,
    parse(node) {
      const text = textOf(node);
      const written = node.kind === 'scalar' && typeof node.value === 'number' ? node.value : text;
      const value = typeof written === 'string' && /^-?\d{1,15}$/.test(written) ? Number(written) : written;
      if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return { value };
      return unexpected(`a whole number ${range}`, node);
    },
    format: String,
  };
}

interface Units {
  readonly [unit: string]: number;
}

const SECOND = 1000;
const DURATION_UNITS: Units = {
  us: 0.001,
  ms: 1,
  s: SECOND,
  min: 60 * SECOND,
  h: 3600 * SECOND,
  d: 86_400 * SECOND,
};
const SIZE_UNITS: Units = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

/** A number (in units of `plain`), or a text of a number and perhaps one of `units`; null if it is neither. */
function quantity(node: TreeNode, plain: number, units: Units): number | null {
  if (node.kind !== 'scalar') return null;
  if (typeof node.value === 'number') return node.value * plain;
  const match = /^(\d{1,15}(?:\.\d{1,15})?|\.\d{1,15}) ?([a-zA-Z]{0,3})$/.exec(node.text ?? '');
  if (match === null) return null;
  const [, number, unit = ''] = match;
  const factor = unit === '' ? plain : Object.hasOwn(units, unit) ? units[unit]! : Number.NaN;
  return Number(number) * factor;
}

/** Seconds with fractions, or with one of PostgreSQL's units (PostgreSQL manual 19.1.1); kept in milliseconds. */
export function duration(minSeconds = 0): Kind<number> {
  const least = minSeconds === 0 ? '' : `, at least ${minSeconds}`;
  return {
    type: 'duration',
    values: `seconds${least}`,
    parse(node) {
      const ms = quantity(node, SECOND, DURATION_UNITS);
      if (ms === null || !(ms >= minSeconds * SECOND && ms <= MAX_DURATION_MS)) {
        return unexpected(`seconds (15, 0.5) or a number with us, ms, s, min, h or d (500ms, 2min)${least}`, node);
      }
      // Whole microseconds, without the noise of binary fractions; what is not zero must not become it (0 is "off").
      return { value: ms === 0 ? 0 : Math.max(0.001, Math.round(ms * 1000) / 1000) };
    },
    format: (ms) => String(Number((ms / SECOND).toFixed(6))),
  };
}

/** Bytes, or with one of PostgreSQL's units. */
export function size(min: number, max: number): Kind<number> {
  return {
    type: 'size',
    values: `bytes, ${min} to ${max}`,
    parse(node) {
      const bytes = quantity(node, 1, SIZE_UNITS);
      if (bytes !== null && Number.isInteger(bytes) && bytes >= min && bytes <= max) return { value: bytes };
      return unexpected(`bytes or a number with B, kB, MB or GB (64kB, 1MB), from ${min} to ${max} bytes`, node);
    },
    format: String,
  };
}

/** One of a few words. `notYet` are PgBouncer's words that have no meaning here yet. */
export function choice<const Word extends string>(words: readonly Word[], notYet: readonly string[] = []): Kind<Word> {
  return {
    type: 'choice',
    values: words.join(', '),
    parse(node) {
      const text = textOf(node)?.toLowerCase();
      const word = words.find((candidate) => candidate === text);
      if (word !== undefined) return { value: word };
      if (text !== undefined && notYet.includes(text)) {
        return { problem: `PgBouncer's ${quote(text)} is not supported yet (supported: ${words.join(', ')})` };
      }
      return unexpected(`one of ${words.join(', ')}`, node);
    },
    format: String,
  };
}

interface TextOptions {
  /** The protocol's limits count bytes of UTF-8. */
  readonly maxBytes?: number;
  /** A secret's value never appears in a message. */
  readonly secret?: boolean;
  /** What makes no sense without it. */
  readonly mustContain?: string;
}

/** Any text, the empty one included. */
export function text(options: TextOptions = {}): Kind<string> {
  const { maxBytes = Number.POSITIVE_INFINITY, secret = false, mustContain = '' } = options;
  return {
    type: 'text',
    values: maxBytes === Number.POSITIVE_INFINITY ? 'text' : `text, at most ${maxBytes} bytes`,
    parse(node) {
      const value = textOf(node);
      if (value === null)
        return { problem: `expected text, found ${secret ? describeType(node) : describeNode(node)}` };
      const problem = textProblem(value, maxBytes);
      if (problem !== null) return { problem };
      return value.includes(mustContain) ? { value } : unexpected(`a text with ${mustContain}`, node);
    },
    format: (value) => value,
  };
}

/** Why a text cannot be sent to PostgreSQL, or null if it can. Names of databases and users are checked with it too. */
export function textProblem(value: string, maxBytes: number): string | null {
  // A NUL would end the string early in every message of the protocol; half a surrogate pair has no UTF-8.
  if (value.includes('\0')) return 'a NUL character is not allowed';
  if (/\p{Surrogate}/u.test(value)) return 'half of a surrogate pair is not a character';
  const bytes = Buffer.byteLength(value);
  return bytes <= maxBytes ? null : `expected at most ${maxBytes} bytes, found ${bytes}`;
}

/** A file; a relative path starts at the configuration file's folder. `~` has no special meaning. */
export const path: Kind<string> = {
  type: 'path',
  values: 'path',
  parse(node, folder) {
    const written = text().parse(node, folder);
    if ('problem' in written) return written;
    return written.value === '' ? unexpected('a path', node) : { value: resolve(folder, written.value) };
  },
  format: (value) => value,
};

/** A literal address or a host name, without a port; where it is allowed also the folder of a Unix socket. */
function addressKind(values: string, unixFolders: 'allowed' | 'refused'): Kind<string> {
  return {
    type: 'address',
    values,
    parse(node) {
      const word = textOf(node)?.trim();
      return word === undefined ? unexpected('a host name or an address', node) : hostProblemOr(word, unixFolders);
    },
    format: (value) => value,
  };
}

export const address = addressKind('address', 'refused');
export const addressOrFolder = addressKind('address, or folder of a Unix socket', 'allowed');

function hostProblemOr(written: string, unixFolders: 'allowed' | 'refused'): Outcome<string> {
  if (written.startsWith('/') && unixFolders === 'allowed') {
    const problem = unixFolderProblem(written);
    return problem === null ? { value: written } : { problem };
  }
  if (written.startsWith('/')) return { problem: `expected an address, found the path ${quote(written)}` };
  if (written.startsWith('@')) return { problem: ABSTRACT_SOCKET };
  const word = written.startsWith('[') && written.endsWith(']') ? written.slice(1, -1) : written;
  // One colon would be a port's.
  const isIpv6 = /^[\da-f:.]+(?:%[\w.-]+)?$/i.test(word) && word.indexOf(':') !== word.lastIndexOf(':');
  const isName = /^[^\s\p{C}:,;/\\@#?*%"'()[\]{}]+$/u.test(word);
  if (word === '*' || (word.length <= 255 && (isIpv6 || isName))) return { value: word };
  const hint = /^[^:]*:\d+$/.test(word) ? ' (the port is a setting of its own)' : '';
  return { problem: `expected a host name or an address, found ${quote(written)}${hint}` };
}

/** Node fills such a name with NULs to its full length, so that it is another one than libpq's [tried with psql]. */
const ABSTRACT_SOCKET =
  'abstract Unix sockets (names that begin with @) cannot be reached from Node as libpq reaches them';

/** Why no Unix socket can be in this folder, or null. */
function unixFolderProblem(folder: string): string | null {
  if (folder.startsWith('@')) return ABSTRACT_SOCKET;
  if (!folder.startsWith('/')) return `expected the absolute path of a folder, found ${quote(folder)}`;
  if (/[\p{C},]/u.test(folder)) return `${quote(folder)} holds characters that a socket's folder cannot have`;
  const isTooLong = Buffer.byteLength(unixSocketPath(folder, 65_535)) > MAX_UNIX_PATH_BYTES;
  return isTooLong
    ? `the path of the folder is too long: with the socket's name it passes ${MAX_UNIX_PATH_BYTES} bytes`
    : null;
}

/** Addresses separated by commas, or a list of them; at least `least`, none of them twice. */
function addressList(
  values: string,
  wildcard: 'allowed' | 'refused',
  unixFolders: 'allowed' | 'refused',
  least: 0 | 1,
): Kind<readonly string[]> {
  return {
    type: 'list',
    values,
    parse(node) {
      const parts = node.kind === 'list' ? node.items.map(textOf) : (textOf(node)?.split(',') ?? [null]);
      const found = new Set<string>();
      if (least === 0 && node.kind === 'scalar' && node.text === '') return { value: Object.freeze([]) };
      for (const part of parts) {
        if (part === null) return unexpected('host names or addresses', node);
        const outcome = hostProblemOr(part.trim(), unixFolders);
        if ('problem' in outcome) return outcome;
        if (found.has(outcome.value)) return { problem: `${quote(outcome.value)} is given twice` };
        found.add(outcome.value);
      }
      if (found.size === 0) return unexpected('at least one address', node);
      if (!found.has('*')) return { value: Object.freeze([...found]) };
      if (wildcard === 'refused') return { problem: 'expected host names or addresses, found "*"' };
      return found.size === 1 ? { value: Object.freeze(['*']) } : { problem: '"*" already stands for all addresses' };
    },
    format: (value) => value.join(', '),
  };
}

export const listenAddresses = addressList('addresses separated by commas, or *', 'allowed', 'refused', 0);
export const hosts = addressList(
  'host names, addresses or folders of Unix sockets, separated by commas',
  'refused',
  'allowed',
  1,
);

/** The folder in which a Unix socket is made; null, an empty text, for none. */
export const unixFolder: Kind<string | null> = {
  type: 'path',
  values: 'absolute path of a folder',
  parse(node) {
    if (node.kind === 'scalar' && (node.value === null || node.text === '')) return { value: null };
    const folder = textOf(node);
    if (folder === null) return unexpected('the path of a folder', node);
    const problem = unixFolderProblem(folder);
    return problem === null ? { value: folder } : { problem };
  },
  format: (value) => value ?? '',
};

/** Permissions as in chmod, in octal whether it begins with a zero or not. */
export const fileMode: Kind<number> = {
  type: 'text',
  values: 'octal number, 0000 to 0777',
  parse(node) {
    const text = textOf(node);
    if (text === null || !/^0?[0-7]{3}$/.test(text)) return unexpected('an octal number such as 0777', node);
    return { value: Number.parseInt(text, 8) };
  },
  format: (value) => `0${value.toString(8).padStart(3, '0')}`,
};

/** Names separated by commas, or a list of them; perhaps none. */
export const nameList: Kind<readonly string[]> = {
  type: 'list',
  values: 'names separated by commas',
  parse(node) {
    const parts = node.kind === 'list' ? node.items.map(textOf) : (textOf(node)?.split(',') ?? [null]);
    const found: string[] = [];
    for (const part of parts) {
      if (part === null) return unexpected('names', node);
      const name = part.trim();
      const problem = textProblem(name, MAX_LISTED_NAME_BYTES);
      if (problem !== null) return { problem };
      if (name !== '') found.push(name);
    }
    return { value: Object.freeze(found) };
  },
  format: (value) => value.join(', '),
};

/** Words out of a few, separated by commas or as a list; with a `!` in front of all of them, those that are refused. */
export function choices(words: readonly string[]): Kind<readonly string[]> {
  return {
    type: 'list',
    values: `of ${words.join(', ')}; or all with ! in front`,
    parse(node, folder) {
      const names = nameList.parse(node, folder);
      if ('problem' in names) return names;
      const found = names.value.map((name) => name.toLowerCase());
      for (const name of found) {
        const word = name.startsWith('!') ? name.slice(1) : name;
        if (!words.includes(word)) return { problem: `expected some of ${words.join(', ')}, found ${quote(name)}` };
      }
      const negated = found.filter((name) => name.startsWith('!')).length;
      if (negated > 0 && negated < found.length) return { problem: 'what is refused and what is required is mixed' };
      return { value: Object.freeze([...new Set(found)]) };
    },
    format: (value) => value.join(', '),
  };
}

/** How a SCRAM secret begins: a client is shown iterations and salt before it proves anything, so they must be the same. */
const SCRAM_PARAMETERS = /^SCRAM-SHA-256\$(\d+:[A-Za-z0-9+/=]+)\$/;

/** A password or a secret as in auth_file, or a list of those that count at a time. Nothing of it is ever shown. */
export const secrets: Kind<readonly string[]> = {
  type: 'list',
  values: 'text, or a list of texts',
  parse(node) {
    const items = node.kind === 'list' ? node.items : [node];
    const found: string[] = [];
    for (const item of items) {
      const secret = textOf(item);
      if (secret === null) return { problem: `expected text, found ${describeType(item)}` };
      const problem = secret === '' ? 'an empty password is no password' : textProblem(secret, MAX_SECRET_BYTES);
      if (problem !== null) return { problem };
      found.push(secret);
    }
    if (found.length === 0) return { problem: 'expected at least one password' };
    const parameters = found.map((secret) => SCRAM_PARAMETERS.exec(secret)?.[1]).filter((text) => text !== undefined);
    if (new Set(parameters).size > 1) {
      return {
        problem: 'of several SCRAM secrets with different salts only one can be checked; give the passwords instead',
      };
    }
    return { value: Object.freeze(found) };
  },
  format: () => '',
};

/** A program and its arguments, as a list, or as a text of words without spaces in them. No shell sees it. */
export const commandLine: Kind<readonly string[]> = {
  type: 'list',
  values: 'a program and its arguments, as a list or separated by spaces',
  parse(node) {
    const isList = node.kind === 'list';
    const words = isList ? node.items.map(textOf) : (textOf(node)?.trim().split(/\s+/) ?? [null]);
    const found: string[] = [];
    for (const word of words) {
      if (word === null || textProblem(word, MAX_SECRET_BYTES) !== null) {
        return { problem: `expected a program and its arguments, found ${describeType(node)}` };
      }
      found.push(word);
    }
    if ((found[0] ?? '') === '') return { problem: 'expected a program' };
    return { value: Object.freeze(found) };
  },
  format: (value) => value.join(' '),
};

/** Null when nothing, or an empty text, is given: for settings of a database or a user this means "as for all". */
export function optional<T>(kind: Kind<T>): Kind<T | null> {
  return {
    ...kind,
    parse(node, folder) {
      const isUnset = node.kind === 'scalar' && (node.value === null || node.value === '');
      return isUnset ? { value: null } : kind.parse(node, folder);
    },
    format: (value) => (value === null ? '' : kind.format(value)),
  };
}
