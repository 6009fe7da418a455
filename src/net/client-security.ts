/** How clients' connections are secured, as a login sees it: no files, no contexts. `TlsContexts` is the real one. */
import type { Transport, TransportHandler } from '../base/transport.ts';

export interface ClientSecurity {
  /** An SSLRequest is answered with yes. */
  readonly isOffered: boolean;
  /** Nobody logs in without TLS. */
  readonly isRequired: boolean;
  /** Nobody logs in without a certificate that was verified. */
  readonly needsCertificate: boolean;
  /**
   * Begins the handshake. `first`: for a client that did not ask before, the bytes that it began with; it must name the
   * protocol by ALPN then. A failure ends in `onTransportClose` with a TlsError.
   */
  accept(plain: Transport, handler: TransportHandler, first: Buffer | null): Transport;
}
