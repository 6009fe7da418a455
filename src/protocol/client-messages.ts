/**
 * The messages that a client sends, written by us where we are the client: to PostgreSQL servers. Each function returns
 * one complete message in memory of its own. PostgreSQL, "Message Formats".
 */

import * as type from './message-type.ts';
import { protocolVersion } from './protocol-version.ts';
import { message } from './server-messages.ts';

export const CANCEL_REQUEST_CODE = 80_877_102;
export const SSL_REQUEST_CODE = 80_877_103;
export const GSSENC_REQUEST_CODE = 80_877_104;

/** Throws a RangeError for a NUL: it would smuggle further parameters into a startup packet (a class of its own in security.md). */
function cstring(text: string): Buffer {
  if (text.includes('\0')) throw new RangeError('a protocol string cannot contain NUL');
  return Buffer.from(`${text}\0`, 'utf8');
}

function int16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(value, 0);
  return bytes;
}

export function startupMessage(minor: number, parameters: Iterable<readonly [string, string]>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of parameters) parts.push(cstring(name), cstring(value));
  const body = Buffer.concat([...parts, Buffer.of(0)]);
  const header = Buffer.allocUnsafe(8);
  header.writeUInt32BE(8 + body.length, 0);
  header.writeUInt32BE(protocolVersion(minor), 4);
  return Buffer.concat([header, body]);
}

/** `key` is what the server's BackendKeyData carried: process id and secret, as they came. */
export function cancelRequest(key: Buffer): Buffer {
  const header = Buffer.allocUnsafe(8);
  header.writeUInt32BE(8 + key.length, 0);
  header.writeUInt32BE(CANCEL_REQUEST_CODE, 4);
  return Buffer.concat([header, key]);
}

export function query(sql: string): Buffer {
  return message(type.QUERY, cstring(sql));
}

/**
 * One statement by the extended protocol, with everything unnamed and all values as text: Parse, Bind, Execute, Sync.
 * `values` are never part of the statement's text.
 */
export function parameterizedQuery(sql: string, values: readonly string[]): Buffer {
  const nothing = int16(0);
  const parameters = values.map((value) => {
    const bytes = Buffer.from(value, 'utf8');
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(bytes.length, 0);
    return Buffer.concat([length, bytes]);
  });
  return Buffer.concat([
    message(type.PARSE, Buffer.concat([cstring(''), cstring(sql), nothing])),
    message(
      type.BIND,
      Buffer.concat([cstring(''), cstring(''), nothing, int16(values.length), ...parameters, nothing]),
    ),
    // All rows.
    message(type.EXECUTE, Buffer.concat([cstring(''), Buffer.alloc(4)])),
    SYNC_MESSAGE,
  ]);
}

/** A PasswordMessage, for a cleartext or MD5 answer. */
export function passwordMessage(answer: string): Buffer {
  return message(type.PASSWORD, cstring(answer));
}

export function saslInitialResponse(mechanism: string, data: Buffer): Buffer {
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(data.length, 0);
  return message(type.PASSWORD, Buffer.concat([cstring(mechanism), length, data]));
}

export function saslResponse(data: Buffer): Buffer {
  return message(type.PASSWORD, data);
}

export const SYNC_MESSAGE: Buffer = message(type.SYNC, Buffer.alloc(0));
export const FLUSH_MESSAGE: Buffer = message(type.FLUSH, Buffer.alloc(0));
export const TERMINATE_MESSAGE: Buffer = message(type.TERMINATE, Buffer.alloc(0));

export function copyFail(reason: string): Buffer {
  return message(type.COPY_FAIL, cstring(reason));
}

/**
 * A Bind of a statement that cannot exist: it must fail, whatever the session's state is. No client can have prepared
 * the name, for it holds bytes that the pooler draws at start (`unguessable`).
 */
export function impossibleBind(unguessable: string): Buffer {
  return message(
    type.BIND,
    // Portal "", statement, no parameter formats, no parameters, no result formats.
    Buffer.concat([cstring(''), cstring(`tsbouncer_no_such_statement_${unguessable}`), Buffer.alloc(6)]),
  );
}

/** A Close of the prepared statement `name`, which is given with its NUL. */
export function closeMessage(name: Buffer): Buffer {
  return message(type.CLOSE, Buffer.concat([Buffer.from('S'), name]));
}

/** A Query that must fail: a syntax error in every dialect of PostgreSQL. */
export const IMPOSSIBLE_QUERY: Buffer = query('tsbouncer refuses this statement');
