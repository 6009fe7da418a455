/**
 * Reads what servers send while one logs in: AuthenticationXxx, NegotiateProtocolVersion, ParameterStatus. Nothing here
 * throws or reads past the end.
 */

export type AuthenticationRequest =
  | { readonly kind: 'ok' }
  | { readonly kind: 'cleartext' }
  | { readonly kind: 'md5'; readonly salt: Buffer }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl-continue'; readonly data: Buffer }
  | { readonly kind: 'sasl-final'; readonly data: Buffer }
  /** Kerberos, GSSAPI, SSPI, or something newer or broken. */
  | { readonly kind: 'unsupported'; readonly code: number };

const MAX_MECHANISMS = 16;

/** `buffer[from, to)` is the body; the result's buffers are copies. */
export function parseAuthenticationRequest(buffer: Buffer, from: number, to: number): AuthenticationRequest {
  if (to - from < 4) return { kind: 'unsupported', code: -1 };
  const code = buffer.readUInt32BE(from);
  const data = Buffer.from(buffer.subarray(from + 4, to));
  if (code === 0 && data.length === 0) return { kind: 'ok' };
  if (code === 3 && data.length === 0) return { kind: 'cleartext' };
  if (code === 5 && data.length === 4) return { kind: 'md5', salt: data };
  if (code === 10) return { kind: 'sasl', mechanisms: mechanismsIn(data) };
  if (code === 11) return { kind: 'sasl-continue', data };
  if (code === 12) return { kind: 'sasl-final', data };
  return { kind: 'unsupported', code };
}

function mechanismsIn(data: Buffer): string[] {
  const mechanisms: string[] = [];
  let at = 0;
  while (at < data.length && data[at] !== 0 && mechanisms.length < MAX_MECHANISMS) {
    const end = data.indexOf(0, at);
    if (end === -1) break;
    mechanisms.push(data.toString('latin1', at, end));
    at = end + 1;
  }
  return mechanisms;
}

export interface Negotiation {
  /** The whole version that the server will speak, major part and minor part. */
  readonly version: number;
  /** How many options it did not understand; their names follow in the message. */
  readonly unknownOptions: number;
}

/** NegotiateProtocolVersion, or null if it is malformed. */
export function parseNegotiation(buffer: Buffer, from: number, to: number): Negotiation | null {
  if (to - from < 8) return null;
  const unknownOptions = buffer.readUInt32BE(from + 4);
  if (unknownOptions === 0 && to - from > 8) return null;
  return { version: buffer.readUInt32BE(from), unknownOptions };
}

/** Name and value of ParameterStatus, or null if it is not two NUL-terminated strings. */
export function parseParameterStatus(buffer: Buffer, from: number, to: number): readonly [string, string] | null {
  const nameEnd = buffer.indexOf(0, from);
  if (nameEnd === -1 || nameEnd >= to) return null;
  const valueEnd = buffer.indexOf(0, nameEnd + 1);
  if (valueEnd === -1 || valueEnd !== to - 1) return null;
  return [buffer.toString('utf8', from, nameEnd), buffer.toString('utf8', nameEnd + 1, valueEnd)];
}
