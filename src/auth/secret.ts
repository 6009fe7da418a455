/**
 * What is stored about a user: a password, PostgreSQL's MD5 hash, or a SCRAM-SHA-256 verifier; and the MD5 arithmetic.
 * It knows neither where secrets are stored nor how a client proves that it has one. No text of an error holds a secret.
 */
import { createHash } from 'node:crypto';
import { decodeBase64 } from './strict-base64.ts';

export interface PlainSecret {
  readonly kind: 'plain';
  /** May be empty, which no password method ever accepts. */
  readonly password: string;
}

export interface Md5Secret {
  readonly kind: 'md5';
  /** 32 lower-case hexadecimal digits: MD5 of password and user name, without the `md5` in front. */
  readonly hash: string;
}

/** RFC 5802 §3: what a server keeps. Whoever has it can check a client, but not log in anywhere. */
export interface ScramSecret {
  readonly kind: 'scram';
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

export type Secret = PlainSecret | Md5Secret | ScramSecret;

/** PostgreSQL keeps the count in an int. */
const MAX_STORED_ITERATIONS = 0x7fff_ffff;

/** A verifier of PostgreSQL has 133 characters; a longer salt is allowed, but not any length (CVE-2019-10164). */
const MAX_SCRAM_TEXT_LENGTH = 1024;

const MD5_SECRET = /^md5([0-9a-f]{32})$/;
const SCRAM_SECRET = /^SCRAM-SHA-256\$([1-9][0-9]{0,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})$/;

/**
 * Reads a secret as PostgreSQL stores it in `rolpassword` and PgBouncer in its auth_file. Whatever is not exactly
 * `md5…` or `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` is a plain password, as in both of them.
 */
export function parseSecret(text: string): Secret {
  const hash = MD5_SECRET.exec(text)?.[1];
  if (hash !== undefined) return { kind: 'md5', hash };
  return parseScramSecret(text) ?? { kind: 'plain', password: text };
}

function parseScramSecret(text: string): ScramSecret | null {
  if (text.length > MAX_SCRAM_TEXT_LENGTH) return null;
  const fields = SCRAM_SECRET.exec(text);
  if (fields === null) return null;
  const iterations = Number(fields[1]);
  const salt = decodeBase64(fields[2]!);
  const storedKey = decodeBase64(fields[3]!);
  const serverKey = decodeBase64(fields[4]!);
  if (iterations > MAX_STORED_ITERATIONS || salt === null) return null;
  if (storedKey?.length !== 32 || serverKey?.length !== 32) return null;
  return { kind: 'scram', iterations, salt, storedKey, serverKey };
}

/** MD5 of password and user name, as 32 hexadecimal digits. Throws where the platform forbids MD5 (FIPS). */
export function md5Hash(password: string | Buffer, userName: string): string {
  return createHash('md5').update(password).update(userName).digest('hex');
}

/** The answer to AuthenticationMD5Password: `md5` and the MD5 of (hash, salt). `salt` has four bytes. */
export function md5Response(userName: string, secret: PlainSecret | Md5Secret, salt: Buffer): string {
  const hash = secret.kind === 'md5' ? secret.hash : md5Hash(secret.password, userName);
  return `md5${createHash('md5').update(hash).update(salt).digest('hex')}`;
}

/**
 * Whether the secret proves anything at all. An empty password is refused by every method (CVE-2017-7546), although
 * hashes of it verify. That a SCRAM verifier is one of the empty password would cost a key derivation per login to see;
 * PostgreSQL looks when it is stored, and so it cannot come from there.
 */
export function isUsable(secret: Secret, userName: string): boolean {
  if (secret.kind === 'plain') return secret.password !== '';
  if (secret.kind === 'md5') return secret.hash !== md5Hash('', userName);
  return true;
}
