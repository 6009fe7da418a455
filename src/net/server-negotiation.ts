/**
 * The beginning of a connection to a server that is to be secured: SSLRequest, its answer of one byte, the handshake.
 * When it is over the wire has its real reader, which then hears that it is connected; before that nothing of what the
 * server says reaches anybody (CVE-2021-23222, CVE-2024-10977).
 */
import type { TlsPlan } from './server-security.ts';
import { TlsError } from './tls-error.ts';
import type { Wire, WireReader } from './wire.ts';

/** PostgreSQL, "SSLRequest": length 8, code 80877103. */
const SSL_REQUEST = Buffer.of(0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f);

const YES = 0x53;
const NO = 0x4e;
const ERROR = 0x45;

export class ServerNegotiation implements WireReader {
  readonly #wire: Wire;
  readonly #reader: WireReader;
  readonly #plan: TlsPlan;
  #state: 'connecting' | 'asked' | 'securing' = 'connecting';
  #failure: TlsError | null = null;

  private constructor(wire: Wire, plan: TlsPlan) {
    this.#wire = wire;
    this.#reader = wire.reader;
    this.#plan = plan;
  }

  /** Takes over `wire`, which is being dialed, until it is secured. A failure reaches its reader in `onClosed`. */
  static begin(wire: Wire, plan: TlsPlan): void {
    wire.reader = new ServerNegotiation(wire, plan);
  }

  onConnected(): void {
    if (this.#state === 'securing') {
      this.#finish();
    } else if (this.#plan.isDirect) {
      this.#secure();
    } else {
      this.#state = 'asked';
      this.#wire.send(SSL_REQUEST);
    }
  }

  onBytes(buffer: Buffer, start: number, end: number): number {
    if (this.#state !== 'asked') return end;
    const answer = buffer[start];
    // What comes with the answer was not said inside of TLS, and nobody was asked anything yet.
    if (end - start > 1 && answer !== ERROR)
      this.#violation('the server sent unencrypted data after its answer to SSLRequest');
    else if (answer === YES) this.#secure();
    else if (answer === ERROR) this.#fail('the server answered SSLRequest with an error');
    else if (answer !== NO) this.#violation('the server does not answer SSLRequest with yes or no');
    else if (this.#plan.isRequired) this.#fail('the server does not support TLS, but server_tls_sslmode requires it');
    else this.#finish();
    return end;
  }

  onDrain(): void {}

  onEnd(): void {
    this.#fail('the server closed the connection instead of answering SSLRequest');
  }

  onClosed(error: Error | null): void {
    this.#reader.onClosed(this.#failure ?? error);
  }

  #secure(): void {
    this.#state = 'securing';
    this.#wire.secure((plain, handler) => this.#plan.connect(plain, handler));
  }

  #finish(): void {
    this.#wire.reader = this.#reader;
    this.#reader.onConnected();
  }

  #fail(what: string): void {
    this.#failure = new TlsError(what);
    this.#wire.destroy();
  }

  #violation(what: string): void {
    this.#failure = new TlsError(what, true);
    this.#wire.destroy();
  }
}
