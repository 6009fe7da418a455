/**
 * The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) in PostgreSQL's dialect: two messages in, two out, no I/O.
 * It knows neither where the secret came from nor how messages are framed. Clients that are not trusted speak to it, so
 * every field is bounded, everything malformed ends the exchange, and no answer says more than that it failed.
 *
 * PostgreSQL's dialect: the user name in the client's message is ignored, for the startup packet has named the user.
 */
import { timingSafeEqual } from 'node:crypto';
import {
  areExtensions,
  CHANNEL_BINDING_TYPE,
  hmacSha256,
  isNonce,
  MAX_CLIENT_MESSAGE_BYTES,
  readAttributes,
  SCRAM_KEY_BYTES,
  SCRAM_SHA_256_PLUS,
  type ScramMechanism,
  sha256,
  xor,
} from './scram-messages.ts';
import type { ScramSecret } from './secret.ts';
import { decodeBase64 } from './strict-base64.ts';

/** For the log. The client hears the same in all cases. */
export type ScramServerFailure =
  | 'malformed SCRAM message'
  | 'channel binding is not supported'
  | 'channel binding does not fit the mechanism'
  | 'unsupported type of channel binding'
  | 'channel binding was downgraded'
  | 'authorization identity is not supported'
  | 'mandatory SCRAM extension is not supported'
  | 'channel binding does not match'
  | 'SCRAM nonce does not match'
  | 'wrong password'
  | 'SCRAM message out of order';

export type ScramServerFirst =
  | { readonly ok: true; readonly message: Buffer }
  | { readonly ok: false; readonly reason: ScramServerFailure };

export type ScramServerFinal =
  | {
      readonly ok: true;
      readonly message: Buffer;
      /** What the client proved to have. With it one can log in as this client at a server that has the same secret. */
      readonly clientKey: Buffer;
    }
  | { readonly ok: false; readonly reason: ScramServerFailure };

export interface ScramServerOptions {
  readonly secret: ScramSecret;
  /** Our half of the nonce: printable ASCII without comma, unpredictable, never used twice. */
  readonly nonce: string;
  /** The secret is a mock: do all the work, and refuse at the end. */
  readonly doomed: boolean;
  /** Which one the client has chosen. */
  readonly mechanism: ScramMechanism;
  /** What tls-server-end-point stands for on this connection; null if SCRAM-SHA-256-PLUS was not offered. */
  readonly channelBinding: Buffer | null;
}

/** gs2-header (RFC 5802 §7): the flag, the type of channel binding, an authorization identity. */
const GS2_HEADER = /^(?:([ny])|p=([A-Za-z0-9.-]+)),(a=[^,]*)?,/;
const EMPTY = Buffer.alloc(0);

export class ScramServer {
  readonly #secret: ScramSecret;
  readonly #ownNonce: string;
  readonly #doomed: boolean;
  readonly #mechanism: ScramMechanism;
  readonly #channelBinding: Buffer | null;
  #expected: 'first' | 'final' | 'nothing' = 'first';
  #gs2Header = '';
  /** The client's half and ours. */
  #nonce = '';
  /** RFC 5802's AuthMessage as far as it is known: client-first-bare, comma, server-first, comma. */
  #transcript = '';

  constructor(options: ScramServerOptions) {
    this.#secret = options.secret;
    this.#ownNonce = options.nonce;
    this.#doomed = options.doomed;
    this.#mechanism = options.mechanism;
    this.#channelBinding = options.channelBinding;
  }

  /** Takes in client-first-message; the answer is server-first-message. */
  clientFirst(message: Buffer): ScramServerFirst {
    if (this.#expected !== 'first') return this.#fail('SCRAM message out of order');
    const text = readMessage(message);
    if (text === null) return this.#fail('malformed SCRAM message');

    const header = GS2_HEADER.exec(text);
    if (header === null) return this.#fail('malformed SCRAM message');
    const [gs2Header, flag, bindingType, authorizationIdentity] = header;
    const misfit = this.#judgeBinding(flag, bindingType);
    if (misfit !== null) return this.#fail(misfit);
    if (authorizationIdentity !== undefined) return this.#fail('authorization identity is not supported');

    const bare = text.slice(gs2Header.length);
    if (bare.startsWith('m=')) return this.#fail('mandatory SCRAM extension is not supported');
    const attributes = readAttributes(bare);
    if (attributes === null) return this.#fail('malformed SCRAM message');
    const [user, nonce, ...extensions] = attributes;
    if (user?.name !== 'n' || nonce?.name !== 'r' || !isNonce(nonce.value) || !areExtensions(extensions)) {
      return this.#fail('malformed SCRAM message');
    }

    const { salt, iterations } = this.#secret;
    this.#gs2Header = gs2Header;
    this.#nonce = nonce.value + this.#ownNonce;
    const serverFirst = `r=${this.#nonce},s=${salt.toString('base64')},i=${iterations}`;
    this.#transcript = `${bare},${serverFirst},`;
    this.#expected = 'final';
    return { ok: true, message: Buffer.from(serverFirst, 'latin1') };
  }

  /** Takes in client-final-message; the answer is server-final-message. */
  clientFinal(message: Buffer): ScramServerFinal {
    if (this.#expected !== 'final') return this.#fail('SCRAM message out of order');
    this.#expected = 'nothing';
    const text = readMessage(message);
    const attributes = text === null ? null : readAttributes(text);
    if (text === null || attributes === null || attributes.length < 3) return this.#fail('malformed SCRAM message');

    const [binding, nonce, ...rest] = attributes;
    const proof = rest.pop();
    if (binding?.name !== 'c' || nonce?.name !== 'r' || proof?.name !== 'p' || !areExtensions(rest)) {
      return this.#fail('malformed SCRAM message');
    }
    // The proof covers `c=`, so that nobody between us can have changed the header (a downgrade) or the channel unseen.
    const data = this.#mechanism === SCRAM_SHA_256_PLUS ? (this.#channelBinding ?? EMPTY) : EMPTY;
    if (binding.value !== Buffer.concat([Buffer.from(this.#gs2Header, 'latin1'), data]).toString('base64')) {
      return this.#fail('channel binding does not match');
    }
    if (nonce.value !== this.#nonce) return this.#fail('SCRAM nonce does not match');
    const clientProof = decodeBase64(proof.value);
    if (clientProof?.length !== SCRAM_KEY_BYTES) return this.#fail('malformed SCRAM message');

    const authMessage = Buffer.from(this.#transcript + text.slice(0, text.lastIndexOf(',')), 'latin1');
    const clientKey = xor(clientProof, hmacSha256(this.#secret.storedKey, authMessage));
    const signature = hmacSha256(this.#secret.serverKey, authMessage);
    // All is computed before anything is decided: a mock must take as long as the truth.
    const proven = timingSafeEqual(sha256(clientKey), this.#secret.storedKey);
    if (!proven || this.#doomed) return this.#fail('wrong password');
    return { ok: true, message: Buffer.from(`v=${signature.toString('base64')}`, 'latin1'), clientKey };
  }

  /** Whether the flag in the header agrees with the mechanism and with what was offered; `type` is that of the flag `p`. */
  #judgeBinding(flag: string | undefined, type: string | undefined): ScramServerFailure | null {
    const isOffered = this.#channelBinding !== null;
    const isChosen = this.#mechanism === SCRAM_SHA_256_PLUS;
    if (type !== undefined) {
      if (!isOffered) return 'channel binding is not supported';
      if (!isChosen) return 'channel binding does not fit the mechanism';
      return type === CHANNEL_BINDING_TYPE ? null : 'unsupported type of channel binding';
    }
    if (isChosen) return 'channel binding does not fit the mechanism';
    // A client that could bind, and did not see our offer: somebody between us has taken it away (RFC 5802 §6).
    return flag === 'y' && isOffered ? 'channel binding was downgraded' : null;
  }

  #fail(reason: ScramServerFailure): { ok: false; reason: ScramServerFailure } {
    this.#expected = 'nothing';
    return { ok: false, reason };
  }
}

/**
 * One character per byte, so that the transcript can be turned back into the very bytes that were signed: a user name
 * may be in any encoding. A NUL would end the message for PostgreSQL.
 */
function readMessage(message: Buffer): string | null {
  if (message.length === 0 || message.length > MAX_CLIENT_MESSAGE_BYTES || message.includes(0)) return null;
  return message.toString('latin1');
}
