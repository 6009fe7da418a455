/**
 * Takes libpq connection strings apart: `host=… port=…` and `postgres://…`. It yields keys and texts and knows no
 * setting; it never repeats any part of the string in a message, for the part may be (of) a password.
 *
 * Source: libpq, "Connection Strings" (PostgreSQL manual 34.1.1).
 */

interface ConnectionParameter {
  readonly key: string;
  readonly value: string;
}

export type ConnectionString = { readonly parameters: readonly ConnectionParameter[] } | { readonly problem: string };

const PERCENT_HINT = 'special characters must be percent-encoded';

/** PgBouncer takes a backslash as it is, and no empty value (tried with 1.18). */
type Dialect = 'libpq' | 'pgbouncer';

export function parseConnectionString(text: string, dialect: Dialect = 'libpq'): ConnectionString {
  if (/^postgres(?:ql)?:\/\//.test(text)) return parseUrl(text.slice(text.indexOf('://') + 3));
  if (/^[a-z][a-z\d+.-]*:\/\//i.test(text)) return { problem: 'expected a URL that starts with postgres://' };
  return parseKeyValues(text, dialect);
}

/**
 * `key = value`, separated by white space. A value in single quotes may hold white space; a backslash takes the next
 * character as it is. As in PgBouncer, `''` in a quoted value is a single quote.
 */
function parseKeyValues(text: string, dialect: Dialect): ConnectionString {
  const escape = dialect === 'libpq' ? '\\' : '';
  const parameters: ConnectionParameter[] = [];
  let at = skipSpace(text, 0);
  while (at < text.length) {
    const keyStart = at;
    while (at < text.length && text[at] !== '=' && !isSpace(text[at]!)) at++;
    const key = text.slice(keyStart, at);
    at = skipSpace(text, at);
    if (key === '' || text[at] !== '=') {
      return { problem: `expected key=value at character ${keyStart + 1} (a value with spaces needs single quotes)` };
    }
    const valueStart = skipSpace(text, at + 1);
    const value = text[valueStart] === "'" ? readQuoted(text, valueStart, escape) : readPlain(text, valueStart, escape);
    if (value === null) return { problem: `the quote at character ${valueStart + 1} is never closed` };
    if (value.text === '' && dialect === 'pgbouncer')
      return { problem: `expected a value at character ${valueStart + 1}` };
    parameters.push({ key, value: value.text });
    at = skipSpace(text, value.end);
  }
  return { parameters };
}

interface Value {
  readonly text: string;
  readonly end: number;
}

function readQuoted(text: string, start: number, escape: string): Value | null {
  let value = '';
  let at = start + 1;
  while (at < text.length) {
    const character = text[at]!;
    const next = text[at + 1];
    if (character === "'" && next !== "'") return { text: value, end: at + 1 };
    if (character === "'" || (character === escape && next !== undefined)) {
      value += next;
      at += 2;
    } else {
      value += character;
      at++;
    }
  }
  return null;
}

function readPlain(text: string, start: number, escape: string): Value {
  let value = '';
  let at = start;
  while (at < text.length && !isSpace(text[at]!)) {
    if (text[at] === escape && at + 1 < text.length) at++;
    value += text[at];
    at++;
  }
  return { text: value, end: at };
}

function isSpace(character: string): boolean {
  return character === ' ' || (character >= '\t' && character <= '\r');
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && isSpace(text[at]!)) at++;
  return at;
}

/** `[user[:password]@][host[:port][,…]][/dbname][?key=value[&…]]` */
function parseUrl(text: string): ConnectionString {
  const authorityEnd = text.search(/[/?]/);
  const authority = authorityEnd === -1 ? text : text.slice(0, authorityEnd);
  const rest = text.slice(authority.length);
  const queryStart = rest.indexOf('?');
  const path = queryStart === -1 ? rest : rest.slice(0, queryStart);
  const userEnd = authority.lastIndexOf('@');
  // A `/` or `?` in a password has cut the user name off from its host.
  if (userEnd === -1 && rest.includes('@')) return { problem: `"@" comes after "/" or "?": ${PERCENT_HINT}` };

  const raw: [key: string, value: string][] = [];
  if (userEnd !== -1) {
    const [user, password] = splitAt(authority.slice(0, userEnd), ':');
    if (user !== '') raw.push(['user', user]);
    if (password !== null) raw.push(['password', password]);
  }
  const address = parseAddresses(authority.slice(userEnd + 1));
  if ('problem' in address) return address;
  raw.push(...address.found);
  if (path.length > 1) raw.push(['dbname', path.slice(1)]);
  for (const parameter of queryStart === -1 ? [] : rest.slice(queryStart + 1).split('&')) {
    if (parameter === '') continue;
    const [key, value] = splitAt(parameter, '=');
    if (value === null) return { problem: 'a parameter after "?" has no value' };
    raw.push([key, value]);
  }
  try {
    return {
      parameters: raw.map(([key, value]) => ({ key: decodeURIComponent(key), value: decodeURIComponent(value) })),
    };
  } catch {
    return { problem: `"%" is not followed by the code of a character in UTF-8 (a "%" itself is "%25")` };
  }
}

type Addresses = { readonly found: [key: string, value: string][] } | { readonly problem: string };

/** Several hosts are separated by commas; an entry has one port for all of them. */
function parseAddresses(text: string): Addresses {
  if (text === '') return { found: [] };
  const hosts: string[] = [];
  const ports = new Set<string>();
  for (const address of text.split(',')) {
    const match = /^(\[[^\]]*\]|[^:[\]]*)(?::(.*))?$/.exec(address);
    if (match === null) return { problem: 'expected host or host:port (an IPv6 address needs brackets)' };
    const [, host = '', port = ''] = match;
    if (port !== '' && !/^\d{1,5}$/.test(port)) return { problem: `the port is not a number (${PERCENT_HINT})` };
    hosts.push(host);
    ports.add(port);
  }
  if (ports.size > 1) return { problem: 'all hosts must have the same port' };
  const found: [string, string][] = hosts.join('') === '' ? [] : [['host', hosts.join(',')]];
  for (const port of ports) if (port !== '') found.push(['port', port]);
  return { found };
}

/** The text before and after the first `separator`; null if there is none. */
function splitAt(text: string, separator: string): [before: string, after: string | null] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, null] : [text.slice(0, at), text.slice(at + 1)];
}
