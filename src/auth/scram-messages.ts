/**
 * What both sides of SCRAM-SHA-256 share (RFC 5802 §5 and §7, RFC 7677): attributes, limits, and the arithmetic of keys.
 * It knows nothing of the order of messages, and never derives a key from a password.
 */
import { createHash, createHmac } from 'node:crypto';
import type { Environment } from '../base/environment.ts';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';
/** The same, bound to the TLS connection that it runs over. */
export const SCRAM_SHA_256_PLUS = 'SCRAM-SHA-256-PLUS';
export type ScramMechanism = typeof SCRAM_SHA_256 | typeof SCRAM_SHA_256_PLUS;

/** The only type of channel binding that PostgreSQL and libpq know (RFC 5929 §4). */
export const CHANNEL_BINDING_TYPE = 'tls-server-end-point';

/**
 * The most iterations that anybody's message or secret can make us compute: about half a second of one thread. OWASP
 * asks for 600,000, which PostgreSQL 16 can be set to, so that the 100,000 of other drivers would be too few.
 */
export const MAX_SCRAM_ITERATIONS = 1_000_000;

/** Length of SHA-256's output: keys, signatures, proofs. */
export const SCRAM_KEY_BYTES = 32;

/** PostgreSQL's own; libpq's messages have about a hundred. */
export const MAX_CLIENT_MESSAGE_BYTES = 1024;

export interface ScramAttribute {
  readonly name: string;
  readonly value: string;
}

const ATTRIBUTE = /^[A-Za-z]=/;
const PRINTABLE = /^[\x21-\x2b\x2d-\x7e]+$/;

/** Letters that RFC 5802 §5.1 gives a meaning; an extension cannot have them. */
const RESERVED_LETTERS = 'amnrcspive';

/** Splits `a=…,b=…`. Null if any part is no attribute. Values may be empty: libpq's user name is. */
export function readAttributes(text: string): ScramAttribute[] | null {
  const attributes: ScramAttribute[] = [];
  for (const part of text.split(',')) {
    if (!ATTRIBUTE.test(part)) return null;
    attributes.push({ name: part.charAt(0), value: part.slice(2) });
  }
  return attributes;
}

/** Optional extensions are ignored, as RFC 5802 asks; a known attribute among them, or one twice, is malformed. */
export function areExtensions(attributes: readonly ScramAttribute[]): boolean {
  const names = new Set<string>();
  for (const { name } of attributes) {
    if (RESERVED_LETTERS.includes(name) || names.has(name)) return false;
    names.add(name);
  }
  return true;
}

/** RFC 5802 §7: printable ASCII without the comma, at least one. */
export function isNonce(text: string): boolean {
  return PRINTABLE.test(text);
}

/** 18 random bytes, as PostgreSQL uses. */
export function createNonce(environment: Pick<Environment, 'randomBytes'>): string {
  return environment.randomBytes(18).toString('base64');
}

export interface ScramKeys {
  readonly clientKey: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** RFC 5802 §3, from SaltedPassword downwards. */
export function scramKeys(saltedPassword: Buffer): ScramKeys {
  const clientKey = hmacSha256(saltedPassword, 'Client Key');
  return { clientKey, storedKey: sha256(clientKey), serverKey: hmacSha256(saltedPassword, 'Server Key') };
}

export function hmacSha256(key: Buffer, data: string | Buffer): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

export function sha256(data: string | Buffer): Buffer {
  return createHash('sha256').update(data).digest();
}

/** `a` and `b` have the same length. */
export function xor(a: Buffer, b: Buffer): Buffer {
  const result = Buffer.alloc(a.length);
  for (let i = 0; i < a.length; i++) result[i] = a[i]! ^ b[i]!;
  return result;
}
