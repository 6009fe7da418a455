/**
 * Reads the packets that open a connection: they have no type byte, come before anybody is known, and are therefore the
 * most bounded ones of all. It decides what a packet is; what is allowed when is the login's business.
 */
import { CANCEL_REQUEST_CODE, GSSENC_REQUEST_CODE, SSL_REQUEST_CODE } from './client-messages.ts';

/** PostgreSQL's MAX_STARTUP_PACKET_LENGTH. */
export const MAX_STARTUP_BYTES = 10_000;

export type StartupPacket =
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gssenc' }
  | { readonly kind: 'cancel' /** process id and secret, copied */; readonly key: Buffer }
  | {
      readonly kind: 'startup';
      readonly minor: number;
      /** In the order of the packet; a name given twice keeps its last value, as in PostgreSQL. */
      readonly parameters: ReadonlyMap<string, string>;
      /** Names that begin with `_pq_.`, as often as they were given: they ask for extensions and set no parameter. */
      readonly protocolOptions: readonly string[];
    }
  | { readonly kind: 'old-protocol' }
  | { readonly kind: 'unsupported'; readonly major: number; readonly minor: number }
  | { readonly kind: 'malformed'; readonly why: string };

/** The whole length of the packet that begins at `from`, or why it cannot be one, or null for too few bytes to tell. */
export function startupPacketLength(buffer: Buffer, from: number, to: number): number | 'malformed' | null {
  // The first byte tells at once: a length of at most 10000 begins with 0, a typed message or TLS does not.
  if (to > from && buffer[from] !== 0) return 'malformed';
  if (to - from < 4) return null;
  const length = buffer.readUInt32BE(from);
  return length < 8 || length > MAX_STARTUP_BYTES ? 'malformed' : length;
}

const OPTION_PREFIX = '_pq_.';

/** Reads the complete packet `buffer[from, to)`, whose length field has been checked. */
export function parseStartupPacket(buffer: Buffer, from: number, to: number): StartupPacket {
  const length = to - from;
  const code = buffer.readUInt32BE(from + 4);
  if (code === SSL_REQUEST_CODE || code === GSSENC_REQUEST_CODE) {
    if (length !== 8) return { kind: 'malformed', why: 'a negotiation request is 8 bytes long' };
    return { kind: code === SSL_REQUEST_CODE ? 'ssl' : 'gssenc' };
  }
  if (code === CANCEL_REQUEST_CODE) {
    // Whatever its length: a cancel is never answered, so a wrong one is just nobody's key.
    return { kind: 'cancel', key: Buffer.from(buffer.subarray(from + 8, to)) };
  }
  const major = code >>> 16;
  const minor = code & 0xffff;
  if (major === 2) return { kind: 'old-protocol' };
  if (major !== 3) return { kind: 'unsupported', major, minor };
  return parseParameters(buffer, from + 8, to, minor);
}

/** Pairs of NUL-terminated strings, then one NUL that must be the packet's last byte (PgBouncer #1407). */
function parseParameters(buffer: Buffer, from: number, to: number, minor: number): StartupPacket {
  const parameters = new Map<string, string>();
  const protocolOptions: string[] = [];
  let at = from;
  while (at < to && buffer[at] !== 0) {
    const nameEnd = buffer.indexOf(0, at);
    const valueEnd = nameEnd === -1 ? -1 : buffer.indexOf(0, nameEnd + 1);
    if (nameEnd === -1 || valueEnd === -1 || valueEnd >= to) {
      return { kind: 'malformed', why: 'expected terminator as last byte' };
    }
    const name = buffer.toString('utf8', at, nameEnd);
    if (name.startsWith(OPTION_PREFIX)) protocolOptions.push(name);
    else parameters.set(name, buffer.toString('utf8', nameEnd + 1, valueEnd));
    at = valueEnd + 1;
  }
  if (at !== to - 1) return { kind: 'malformed', why: 'expected terminator as last byte' };
  return { kind: 'startup', minor, parameters, protocolOptions };
}
