/**
 * The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), as libpq speaks it to PostgreSQL: no I/O, no passwords. It
 * knows neither where the salted password comes from nor how messages are framed. A server may lie: what it sends is
 * bounded, and it must prove in turn that it has the secret.
 *
 * clientFirst → serverFirst (salt and iterations: derive the key) → proof → serverFinal.
 */
import { timingSafeEqual } from 'node:crypto';
import {
  CHANNEL_BINDING_TYPE,
  hmacSha256,
  isNonce,
  MAX_SCRAM_ITERATIONS,
  readAttributes,
  SCRAM_KEY_BYTES,
  type ScramKeys,
  scramKeys,
  xor,
} from './scram-messages.ts';
import { decodeBase64 } from './strict-base64.ts';

/** CVE-2026-6665: a server chose the length of its nonce. */
const MAX_NONCE_LENGTH = 1024;
const MAX_SALT_BYTES = 1024;
const MAX_SERVER_MESSAGE_BYTES = 4096;

const ITERATIONS = /^[1-9][0-9]{0,9}$/;

/** RFC 5802 §7, server-error-value. Anything else that a server says is not repeated. */
const SERVER_ERRORS: ReadonlySet<string> = new Set([
  'invalid-encoding',
  'extensions-not-supported',
  'invalid-proof',
  'channel-bindings-dont-match',
  'server-does-support-channel-binding',
  'channel-binding-not-supported',
  'unsupported-channel-binding-type',
  'unknown-user',
  'invalid-username-encoding',
  'no-resources',
]);

export interface ScramClientFailure {
  readonly ok: false;
  /** For the log; holds nothing that the server chose. */
  readonly reason: string;
}

/** What the key is to be derived with. */
export interface ScramChallenge {
  readonly ok: true;
  readonly salt: Buffer;
  readonly iterations: number;
}

/**
 * Whether the exchange is bound to its channel (RFC 5802 §7): `n`, we cannot or will not; `y`, we could, but the server
 * has not offered it; `p`, to `data`, what tls-server-end-point stands for.
 */
export type ScramBinding = { readonly flag: 'n' | 'y' } | { readonly flag: 'p'; readonly data: Buffer };

export interface ScramClientOptions {
  /** Our half of the nonce: printable ASCII without comma, unpredictable, never used twice. */
  readonly nonce: string;
  /** PostgreSQL ignores it in favour of the startup packet's, and libpq leaves it empty; so do we. */
  readonly userName?: string;
  readonly binding: ScramBinding;
}

export class ScramClient {
  readonly #ownNonce: string;
  readonly #clientFirstBare: string;
  readonly #gs2Header: string;
  /** What `c=` holds: the header, and what it is bound to. */
  readonly #bindingInput: string;
  #expected: 'server-first' | 'key' | 'server-final' | 'nothing' = 'server-first';
  #nonce = '';
  #serverFirst = '';
  #serverSignature: Buffer | null = null;

  constructor(options: ScramClientOptions) {
    this.#ownNonce = options.nonce;
    const userName = (options.userName ?? '').replaceAll('=', '=3D').replaceAll(',', '=2C');
    this.#clientFirstBare = `n=${userName},r=${options.nonce}`;
    const { binding } = options;
    this.#gs2Header = binding.flag === 'p' ? `p=${CHANNEL_BINDING_TYPE},,` : `${binding.flag},,`;
    const header = Buffer.from(this.#gs2Header);
    this.#bindingInput = (binding.flag === 'p' ? Buffer.concat([header, binding.data]) : header).toString('base64');
  }

  /** client-first-message, for SASLInitialResponse. */
  clientFirst(): Buffer {
    return Buffer.from(this.#gs2Header + this.#clientFirstBare);
  }

  /** Takes in server-first-message. */
  serverFirst(message: Buffer): ScramChallenge | ScramClientFailure {
    if (this.#expected !== 'server-first') return this.#fail('SCRAM message out of order');
    if (message.length > MAX_SERVER_MESSAGE_BYTES) return this.#fail('SCRAM message too long');
    const text = message.toString('latin1');
    const attributes = readAttributes(text);
    if (attributes?.length !== 3) return this.#fail('malformed SCRAM message');
    const [nonce, saltText, count] = attributes;
    if (nonce?.name !== 'r' || saltText?.name !== 's' || count?.name !== 'i') {
      return this.#fail('malformed SCRAM message');
    }

    // A nonce that is only ours would let a server replay an old exchange.
    const extendsOurs = nonce.value.startsWith(this.#ownNonce) && nonce.value.length > this.#ownNonce.length;
    if (!extendsOurs || !isNonce(nonce.value)) return this.#fail('SCRAM nonce does not match');
    if (nonce.value.length > MAX_NONCE_LENGTH) return this.#fail('SCRAM nonce too long');

    const salt = decodeBase64(saltText.value);
    if (salt === null || salt.length === 0) return this.#fail('malformed SCRAM salt');
    if (salt.length > MAX_SALT_BYTES) return this.#fail('SCRAM salt too long');

    if (!ITERATIONS.test(count.value)) return this.#fail('malformed SCRAM iteration count');
    const iterations = Number(count.value);
    // CVE-2026-42198: a server chose how long we compute.
    if (iterations > MAX_SCRAM_ITERATIONS) return this.#fail('SCRAM iteration count too large');

    this.#nonce = nonce.value;
    this.#serverFirst = text;
    this.#expected = 'key';
    return { ok: true, salt, iterations };
  }

  /**
   * client-final-message. `key` is SaltedPassword, 32 bytes, derived with what `serverFirst` returned, or what follows from
   * it and was proven by somebody else. Throws if `serverFirst` did not succeed just before: no peer can bring that about.
   */
  proof(key: Buffer | ScramKeys): Buffer {
    if (this.#expected !== 'key') throw new Error('no SCRAM challenge to answer');
    const { clientKey, storedKey, serverKey } = Buffer.isBuffer(key) ? scramKeys(key) : key;
    const withoutProof = `c=${this.#bindingInput},r=${this.#nonce}`;
    const authMessage = Buffer.concat([
      Buffer.from(`${this.#clientFirstBare},`),
      Buffer.from(`${this.#serverFirst},${withoutProof}`, 'latin1'),
    ]);
    this.#serverSignature = hmacSha256(serverKey, authMessage);
    this.#expected = 'server-final';
    const proof = xor(clientKey, hmacSha256(storedKey, authMessage));
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`, 'latin1');
  }

  /** Takes in server-final-message. Only when this is `ok` may AuthenticationOk be believed. */
  serverFinal(message: Buffer): { readonly ok: true } | ScramClientFailure {
    if (this.#expected !== 'server-final') return this.#fail('SCRAM message out of order');
    this.#expected = 'nothing';
    if (message.length > MAX_SERVER_MESSAGE_BYTES) return this.#fail('SCRAM message too long');
    const attributes = readAttributes(message.toString('latin1'));
    const [final] = attributes ?? [];
    if (final === undefined || attributes?.length !== 1) return this.#fail('malformed SCRAM message');
    if (final.name === 'e') {
      return this.#fail(`server error ${SERVER_ERRORS.has(final.value) ? final.value : 'other-error'}`);
    }
    const signature = final.name === 'v' ? decodeBase64(final.value) : null;
    if (signature?.length !== SCRAM_KEY_BYTES) return this.#fail('malformed SCRAM message');
    if (!timingSafeEqual(signature, this.#serverSignature!)) return this.#fail('server does not know the secret');
    return { ok: true };
  }

  #fail(reason: string): ScramClientFailure {
    this.#expected = 'nothing';
    return { ok: false, reason };
  }
}
