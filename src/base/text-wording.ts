/**
 * PgBouncer's words for what the log says: `C-0x…: app/alice@10.0.0.7:50123 closing because: client close request (age=3s)`.
 * People search for them and have alarms on them. It makes them from an event's message and fields; what it does not
 * know stays as it is, with the fields behind it.
 */
import { SERVER_CLOSE_REASONS } from './close-reason.ts';
import type { LogFields } from './logger.ts';

export interface LogEvent {
  readonly message: string;
  readonly fields: LogFields;
}

export interface Wording {
  /** One for each line that PgBouncer writes. */
  readonly messages: readonly string[];
  /** What the messages do not say already. */
  readonly rest: LogFields;
  /** It is a warning, whatever it is with us. */
  readonly isWarning: boolean;
}

/** Of the client or server that the event is about; `rest` is what is left of the fields. */
interface Subject {
  readonly prefix: string;
  readonly rest: LogFields;
}

export function wordingOf(event: LogEvent): Wording {
  const { client, server } = event.fields;
  if (typeof client === 'string') return clientWording(event, client);
  if (typeof server === 'string') return serverWording(event, server);
  return processWording(event);
}

function clientWording({ message, fields }: LogEvent, client: string): Wording {
  const { prefix, rest } = subject('C', client, fields);
  const { reason: _reason, ageMs, sqlstate, cause, tls, ...others } = rest;
  const who = `db=${textOf(fields['database'])} user=${textOf(fields['user'])}`;
  if (message === 'login') {
    return said(`${prefix}login attempt: ${who}${tls === undefined ? '' : ` tls=${textOf(tls)}`}`, others);
  }
  if (message === 'login refused') return said(`${prefix}login failed: ${who}`, { cause, ...others });
  if (message.startsWith('closing because: ')) return said(prefix + message + age(ageMs), others);
  // What it has been told.
  if (sqlstate !== undefined) return { ...said(`${prefix}pooler error: ${message}`, others), isWarning: true };
  return said(prefix + message, rest);
}

function serverWording({ message, fields }: LogEvent, server: string): Wording {
  const { prefix, rest } = subject('S', server, fields);
  const { ageMs, pid: _pid, ...others } = rest;
  const [, reason = ''] = /^closing server: (\w+)$/.exec(message) ?? [];
  if (!isServerCloseReason(reason)) return said(prefix + message, others);
  return said(`${prefix}closing because: ${SERVER_CLOSE_REASONS[reason]}${age(ageMs)}`, others);
}

function processWording({ message, fields }: LogEvent): Wording {
  const { addresses, version, signal, ...rest } = fields;
  if (message === 'listening' && Array.isArray(addresses)) {
    const { node, openssl } = process.versions;
    const listening = addresses.map((address) => `listening on ${unixNamed(String(address))}`);
    const up = `process up: tsbouncer ${textOf(version)}, Node.js ${node}, tls: OpenSSL ${openssl}`;
    return { messages: [...listening, up], rest, isWarning: false };
  }
  if (typeof signal === 'string') return said(`got ${signal}, ${message}`, rest);
  if (message.startsWith('stats: ')) return said(message, {});
  return said(message, fields);
}

function said(message: string, rest: LogFields): Wording {
  return { messages: [message], rest, isWarning: false };
}

function subject(kind: 'C' | 'S', address: string, fields: LogFields): Subject {
  const { client: _client, server: _server, database, user, ...rest } = fields;
  const name = `${textOf(database ?? '(nodb)')}/${textOf(user ?? '(nouser)')}@${bracketed(address)}`;
  return { prefix: `${kind}-0x${handleOf(address, fields['pid'])}: ${name} `, rest };
}

/**
 * Where PgBouncer has the address of something in its memory: the same for all lines about a connection, and another one
 * than that of any other that is open. Of a server it is the number of its process, of a client its port and, so that
 * two hosts differ, what its address adds up to.
 */
function handleOf(address: string, pid: unknown): string {
  if (typeof pid === 'number' && pid > 0) return pid.toString(16);
  let sum = 0;
  for (const character of address) sum = (Math.imul(sum, 31) + character.charCodeAt(0)) >>> 0;
  return sum.toString(16).padStart(8, '0');
}

/** `host:port`, where the host may be one of IPv6. */
function bracketed(address: string): string {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at);
  return host.includes(':') && !host.startsWith('[') ? `[${host}]${address.slice(at)}` : address;
}

function unixNamed(address: string): string {
  return address.startsWith('/') || address.startsWith('@') ? `unix:${address}` : bracketed(address);
}

function age(ageMs: unknown): string {
  return typeof ageMs === 'number' ? ` (age=${Math.floor(ageMs / 1000)}s)` : '';
}

function isServerCloseReason(reason: string): reason is keyof typeof SERVER_CLOSE_REASONS {
  return Object.hasOwn(SERVER_CLOSE_REASONS, reason);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : String(value);
}
