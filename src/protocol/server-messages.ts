/**
 * The messages that a server sends, written by us where we are the server: to clients. Each function returns one
 * complete message in memory of its own. PostgreSQL, "Message Formats".
 */
import type { ErrorReport } from '../base/errors.ts';
import * as type from './message-type.ts';
import { protocolVersion } from './protocol-version.ts';

/** A message of type `code` with `body`. */
export function message(code: number, body: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(5 + body.length);
  bytes[0] = code;
  bytes.writeUInt32BE(4 + body.length, 1);
  body.copy(bytes, 5);
  return bytes;
}

function cstring(text: string): Buffer {
  // A NUL would end the string early and let what follows be read as something else.
  return Buffer.from(`${text.replaceAll('\0', ' ')}\0`, 'utf8');
}

/** Severity is given twice: S may be translated in PostgreSQL, V never is. Fields in PostgreSQL's order. */
function reportBody(severity: string, report: Omit<ErrorReport, 'severity'>): Buffer {
  const fields = [`S${severity}`, `V${severity}`, `C${report.sqlstate}`, `M${report.message}`];
  if (report.detail !== undefined) fields.push(`D${report.detail}`);
  if (report.hint !== undefined) fields.push(`H${report.hint}`);
  if (report.routine !== undefined) fields.push(`R${report.routine}`);
  return Buffer.concat([...fields.map(cstring), Buffer.of(0)]);
}

export function errorResponse(report: ErrorReport): Buffer {
  return message(type.ERROR_RESPONSE, reportBody(report.severity, report));
}

export function noticeResponse(severity: 'NOTICE' | 'WARNING', report: Omit<ErrorReport, 'severity'>): Buffer {
  return message(type.NOTICE_RESPONSE, reportBody(severity, report));
}

/** `status` is the byte I, T or E. */
export function readyForQuery(status: number): Buffer {
  return message(type.READY_FOR_QUERY, Buffer.of(status));
}

export function parameterStatus(name: string, value: string): Buffer {
  return message(type.PARAMETER_STATUS, Buffer.concat([cstring(name), cstring(value)]));
}

/** `pid` as an unsigned number; `secret` of 4 bytes before protocol 3.2, of 4 to 256 since. */
export function backendKeyData(pid: number, secret: Buffer): Buffer {
  const body = Buffer.allocUnsafe(4 + secret.length);
  body.writeUInt32BE(pid, 0);
  secret.copy(body, 4);
  return message(type.BACKEND_KEY_DATA, body);
}

/** An AuthenticationXxx message: 0 Ok, 3 cleartext, 5 MD5 (with its salt), 10–12 SASL. */
export function authenticationRequest(code: number, data?: Buffer): Buffer {
  const header = Buffer.allocUnsafe(4);
  header.writeUInt32BE(code, 0);
  return message(type.AUTHENTICATION, data === undefined ? header : Buffer.concat([header, data]));
}

/** The mechanisms of AuthenticationSASL: strings, then an empty one. */
export function saslMechanisms(mechanisms: readonly string[]): Buffer {
  return Buffer.concat([...mechanisms.map(cstring), Buffer.of(0)]);
}

/** `minor` is what will be spoken, `unknownOptions` are the `_pq_.` parameters that were not understood. */
export function negotiateProtocolVersion(minor: number, unknownOptions: readonly string[]): Buffer {
  const header = Buffer.allocUnsafe(8);
  // The whole version, not only the minor, is what libpq and PgBouncer agree on.
  header.writeUInt32BE(protocolVersion(minor), 0);
  header.writeUInt32BE(unknownOptions.length, 4);
  return message(type.NEGOTIATE_PROTOCOL_VERSION, Buffer.concat([header, ...unknownOptions.map(cstring)]));
}

export const PARSE_COMPLETE_MESSAGE: Buffer = message(type.PARSE_COMPLETE, Buffer.alloc(0));
export const CLOSE_COMPLETE_MESSAGE: Buffer = message(type.CLOSE_COMPLETE, Buffer.alloc(0));

export function commandComplete(tag: string): Buffer {
  return message(type.COMMAND_COMPLETE, cstring(tag));
}
