/**
 * A connection that could not be secured, in words that hold nothing secret and nothing that the peer has said: it has
 * not proven who it is.
 */
export class TlsError extends Error {
  override readonly name = 'TlsError';
  /** The other side did what no version of PostgreSQL does: no reason to trust it without TLS instead. */
  readonly isViolation: boolean;

  /** `what`: for logs and for clients. */
  constructor(what: string, isViolation = false) {
    super(what);
    this.isViolation = isViolation;
  }

  /** Of a handshake that failed; `error` is Node's. */
  static ofHandshake(error: Error | null): TlsError {
    return new TlsError(`TLS handshake failed: ${reasonOf(error)}`);
  }
}

/** OpenSSL's reason, without its numbers and file names. What Node has put together of the certificate's text is left out. */
function reasonOf(error: Error | null): string {
  if (error === null) return 'the connection was closed';
  const { reason, code } = error as Error & { readonly reason?: unknown; readonly code?: unknown };
  if (typeof reason === 'string' && code !== 'ERR_TLS_CERT_ALTNAME_INVALID') return reason;
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'the connection was closed';
  if (typeof code !== 'string') return 'unknown reason';
  return VERIFICATION.has(code) ? error.message : code;
}

/** OpenSSL's names of what is wrong with a certificate: its words for them are its own. */
const VERIFICATION: ReadonlySet<string> = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_DECRYPT_CERT_SIGNATURE',
  'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY',
  'CERT_SIGNATURE_FAILURE',
  'CERT_NOT_YET_VALID',
  'CERT_HAS_EXPIRED',
  'CERT_REVOKED',
  'CERT_REJECTED',
  'CERT_UNTRUSTED',
  'CERT_CHAIN_TOO_LONG',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
]);
