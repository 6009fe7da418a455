/**
 * What a connection has settled of its encryption before its startup packet: what it has asked for, and whether it may go
 * on without. It reads no packet and knows nobody's name.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import { UNIX_ADDRESS } from '../base/transport.ts';
import type { ClientSecurity } from '../net/client-security.ts';
import type { Wire } from '../net/wire.ts';

const NO = Buffer.from('N');
const YES = Buffer.from('S');

/** How a TLS handshake begins, where PostgreSQL's first packet has the high byte of its length. */
const TLS_HANDSHAKE = 0x16;

export class ClientEncryption {
  readonly #wire: Wire;
  readonly #security: ClientSecurity;
  #sslAsked = false;
  #gssencAsked = false;

  constructor(wire: Wire, security: ClientSecurity) {
    this.#wire = wire;
    this.#security = security;
  }

  /** Whether the first byte of a connection is one of a handshake that may begin so. */
  isDirect(firstByte: number | undefined): boolean {
    return firstByte === TLS_HANDSHAKE && this.#isOffered;
  }

  /**
   * Answers a request. `followed`: more bytes came together with it. True: a handshake has begun, and `Wire.secure` says
   * what comes next.
   */
  answer(what: 'SSL' | 'GSSAPI encryption', followed: boolean): boolean | ErrorReport {
    if (what === 'SSL' ? this.#sslAsked : this.#gssencAsked) return errors.repeatedNegotiation(what);
    // Bytes that were sent before the answer could be taken for bytes of the secured stream (CVE-2021-3935).
    if (followed) return errors.unencryptedDataAfter(what);
    if (what === 'SSL') this.#sslAsked = true;
    else this.#gssencAsked = true;
    const isAccepted = what === 'SSL' && this.#isOffered;
    this.#wire.send(isAccepted ? YES : NO);
    if (isAccepted) this.begin(null);
    return isAccepted;
  }

  /** Begins the handshake. `first`: what a client that has not asked began with. */
  begin(first: Buffer | null): void {
    // It is settled with this.
    this.#sslAsked = true;
    this.#gssencAsked = true;
    this.#wire.secure((plain, handler) => this.#security.accept(plain, handler, first));
  }

  /** Why nobody can log in over the wire as it is; null if they can. */
  get refusal(): ErrorReport | null {
    if (this.#isLocal) return null;
    const { security } = this.#wire;
    if (security === null) return this.#security.isRequired ? errors.tlsRequired() : null;
    return security.peer === null && this.#security.needsCertificate ? errors.clientCertificateRequired() : null;
  }

  get #isOffered(): boolean {
    return this.#security.isOffered && !this.#isLocal;
  }

  /** As in PostgreSQL there is no TLS on a Unix socket, whatever is required. */
  get #isLocal(): boolean {
    return this.#wire.remoteAddress === UNIX_ADDRESS;
  }
}
