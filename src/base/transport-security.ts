/** What is known of a secured connection once its handshake has ended: plain facts, for logins and for `SHOW`. */

export interface TransportSecurity {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly version: string;
  readonly cipher: string;
  /**
   * DER of the certificate that the *server side* of this connection has shown: ours towards a client, PostgreSQL's
   * towards us. It is what channel binding binds to (RFC 5929 §4); null if the side cannot tell.
   */
  readonly serverCertificate: Buffer | null;
  /** Who the peer is by a certificate that was verified; null if it showed none, or nobody asked. */
  readonly peer: PeerIdentity | null;
}

export interface PeerIdentity {
  /** The subject's first CN as UTF-8, as PostgreSQL takes it; null without one, or if it holds a NUL (CVE-2009-4034). */
  readonly commonName: string | null;
  /** The subject by RFC 2253, as OpenSSL writes it: the last attribute first, what is not ASCII escaped. */
  readonly distinguishedName: string;
}
