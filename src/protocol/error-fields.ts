/**
 * Reads ErrorResponse and NoticeResponse as servers send them. Fields may be missing, unknown, doubled or cut off: what
 * cannot be read is left out, and nothing here throws or reads past the end.
 */
import type { ErrorReport } from '../base/errors.ts';

export interface ErrorFields {
  /** ERROR, FATAL, PANIC, WARNING …: the untranslated V where there is one (PostgreSQL 9.6 and later), else S. */
  readonly severity: string;
  /** XX000 (internal error) where the server named none. */
  readonly sqlstate: string;
  readonly message: string;
  readonly detail: string | null;
  readonly hint: string | null;
  /** The function in PostgreSQL's source that reported it. */
  readonly routine: string | null;
}

/** `buffer[from, to)` is the message's body: fields of one byte and a NUL-terminated string, then a NUL. */
export function parseErrorFields(buffer: Buffer, from: number, to: number): ErrorFields {
  const fields = new Map<string, string>();
  let at = from;
  while (at < to && buffer[at] !== 0) {
    const nul = buffer.indexOf(0, at + 1);
    const end = nul === -1 || nul > to ? to : nul;
    const name = String.fromCharCode(buffer[at]!);
    if (!fields.has(name)) fields.set(name, buffer.toString('utf8', at + 1, end));
    at = end + 1;
  }
  const sqlstate = fields.get('C') ?? '';
  return {
    severity: fields.get('V') ?? fields.get('S') ?? 'ERROR',
    sqlstate: /^[0-9A-Z]{5}$/.test(sqlstate) ? sqlstate : 'XX000',
    message: fields.get('M') ?? 'no message',
    detail: fields.get('D') ?? null,
    hint: fields.get('H') ?? null,
    routine: fields.get('R') ?? null,
  };
}

/** Whether the session that sent this error ends with it. */
export function isFatal(fields: ErrorFields): boolean {
  return fields.severity === 'FATAL' || fields.severity === 'PANIC';
}

/** The same error as the last word to a client, whatever its severity was for us. */
export function fatalReport({ sqlstate, message, detail, hint }: ErrorFields): ErrorReport {
  return {
    severity: 'FATAL',
    sqlstate,
    message,
    ...(detail === null ? {} : { detail }),
    ...(hint === null ? {} : { hint }),
  };
}
