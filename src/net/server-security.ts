/** How connections to servers are secured, as a pool sees it: no files, no contexts. `TlsContexts` is the real one. */
import type { Transport, TransportHandler } from '../base/transport.ts';

/** How one connection is to be secured. */
export interface TlsPlan {
  /** Without TLS there is no connection. */
  readonly isRequired: boolean;
  /** The handshake comes first, without an SSLRequest before it. */
  readonly isDirect: boolean;
  /** Begins the handshake. A failure ends in `onTransportClose` with a TlsError. */
  connect(plain: Transport, handler: TransportHandler): Transport;
}

export interface ServerSecurity {
  /** For a connection to `hostName` (as it is configured); null for one without TLS. */
  plan(hostName: string, attempt: TlsAttempt): TlsPlan | null;
}

/** Which attempt at an address it is. Only libpq's `prefer` and `allow` make a second one otherwise. */
export type TlsAttempt = 'first' | 'second';
