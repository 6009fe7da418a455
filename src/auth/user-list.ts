/**
 * PgBouncer's auth_file: a line `"user" "secret"` for each user. It knows nothing of files, and no message of a problem
 * holds anything that a line says.
 *
 * As in PgBouncer: `""` within quotes is one quote, what is between the two strings and after them is ignored, `;` begins
 * a comment line, of two lines for one user the later counts. Unlike it: a string ends on its line (PgBouncer would take
 * the next line's user name for a forgotten secret), and a broken line costs that line instead of all that follow.
 */
import { parseSecret, type Secret } from './secret.ts';
import type { SecretSource } from './secret-source.ts';

export interface UserListProblem {
  /** Counted from 1. */
  readonly line: number;
  /** `broken`: the line was left out. `duplicate`: it replaced an earlier one. */
  readonly kind: 'broken' | 'duplicate';
  readonly message: string;
}

/** PgBouncer's MAX_USERNAME and MAX_PASSWORD less their NUL; both in bytes, as in the file. */
const MAX_USER_NAME_BYTES = 127;
const MAX_SECRET_BYTES = 65_530;

/** Enough to see what is wrong; the others are only counted. */
const MAX_PROBLEMS_KEPT = 100;

const QUOTE = 0x22;
const SEMICOLON = 0x3b;
const BYTE_ORDER_MARK = 0xfeff;

/** Reads a file's whole text. Never throws, and takes time in proportion to the text. */
export function parseUserList(text: string): UserList {
  const secretsAt = new Map<string, number>();
  const problems: UserListProblem[] = [];
  let problemCount = 0;
  const report = (line: number, kind: UserListProblem['kind'], message: string): void => {
    if (problems.length < MAX_PROBLEMS_KEPT) problems.push({ line, kind, message });
    problemCount++;
  };

  let at = text.charCodeAt(0) === BYTE_ORDER_MARK ? 1 : 0;
  for (let line = 1; at < text.length; line++) {
    const newline = text.indexOf('\n', at);
    const end = newline === -1 ? text.length : newline;
    const start = skipSpace(text, at, end);
    at = end + 1;
    if (start === end || text.charCodeAt(start) === SEMICOLON) continue;

    const entry = readEntry(text, start, end);
    if (typeof entry === 'string') {
      report(line, 'broken', entry);
      continue;
    }
    const usersBefore = secretsAt.size;
    secretsAt.set(entry.name, entry.secretAt);
    if (secretsAt.size === usersBefore) report(line, 'duplicate', 'the user has an earlier line, which is ignored');
  }
  return new UserList(text, secretsAt, problems, problemCount);
}

export class UserList implements SecretSource {
  readonly #text: string;
  /**
   * Where in the text each user's secret begins. It is read when it is asked for: to decode a million verifiers takes
   * seconds, to keep them as strings doubles the time and the memory.
   */
  readonly #secretsAt: ReadonlyMap<string, number>;
  /** The first hundred. */
  readonly problems: readonly UserListProblem[];
  readonly problemCount: number;
  readonly usualKind: Secret['kind'];

  constructor(
    text: string,
    secretsAt: ReadonlyMap<string, number>,
    problems: readonly UserListProblem[],
    problemCount: number,
  ) {
    this.#text = text;
    this.#secretsAt = secretsAt;
    this.problems = problems;
    this.problemCount = problemCount;
    this.usualKind = usualKindOf(text, secretsAt);
  }

  isSameAs(other: UserList): boolean {
    return this.#text === other.#text;
  }

  get size(): number {
    return this.#secretsAt.size;
  }

  /** In the file's order. */
  userNames(): Iterable<string> {
    return this.#secretsAt.keys();
  }

  lookup(userName: string): Secret | null {
    const at = this.#secretsAt.get(userName);
    if (at === undefined) return null;
    return parseSecret(unquote(this.#text, at, closingQuote(this.#text, at, this.#text.length)));
  }
}

/** The line's user and where its secret begins, or what is wrong with it. */
function readEntry(text: string, start: number, end: number): { name: string; secretAt: number } | string {
  if (text.charCodeAt(start) !== QUOTE) return 'a line must begin with a user name in double quotes';
  const nameEnd = closingQuote(text, start + 1, end);
  if (nameEnd === -1) return 'the quotes of the user name are not closed';
  const secretAt = text.indexOf('"', nameEnd + 1) + 1;
  if (secretAt === 0 || secretAt > end) return 'the secret in double quotes is missing';
  const secretEnd = closingQuote(text, secretAt, end);
  if (secretEnd === -1) return 'the quotes of the secret are not closed';

  const name = unquote(text, start + 1, nameEnd);
  if (name === '') return 'the user name is empty';
  if (isLongerThan(name, MAX_USER_NAME_BYTES)) return `the user name is longer than ${MAX_USER_NAME_BYTES} bytes`;
  const secret = text.slice(secretAt, secretEnd);
  if (isLongerThan(secret, MAX_SECRET_BYTES) && isLongerThan(unquote(text, secretAt, secretEnd), MAX_SECRET_BYTES)) {
    return `the secret is longer than ${MAX_SECRET_BYTES} bytes`;
  }
  // No client can send one: it would be a user or a password that never matches.
  if (name.includes('\0') || secret.includes('\0')) return 'the line holds a NUL character';
  return { name, secretAt };
}

/** The first quote in [at, end) that is not doubled, or -1. */
function closingQuote(text: string, at: number, end: number): number {
  for (let quote = text.indexOf('"', at); quote !== -1 && quote < end; quote = text.indexOf('"', quote + 2)) {
    if (text.charCodeAt(quote + 1) !== QUOTE) return quote;
  }
  return -1;
}

function unquote(text: string, start: number, end: number): string {
  return text.slice(start, end).replaceAll('""', '"');
}

function isLongerThan(text: string, maxBytes: number): boolean {
  // A UTF-16 unit is at most three bytes.
  return text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes;
}

/** Space as in C: the carriage return of a CRLF line is one, too. */
function skipSpace(text: string, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && (code < 0x09 || code > 0x0d)) break;
    at++;
  }
  return at;
}

/** Judged by how they begin: this is about what most users look like, not about any one of them. */
function usualKindOf(text: string, secretsAt: ReadonlyMap<string, number>): Secret['kind'] {
  let scram = 0;
  let md5 = 0;
  for (const at of secretsAt.values()) {
    if (text.startsWith('SCRAM-SHA-256$', at)) scram++;
    else if (text.startsWith('md5', at)) md5++;
  }
  if (scram * 2 > secretsAt.size) return 'scram';
  return md5 * 2 > secretsAt.size ? 'md5' : 'plain';
}
