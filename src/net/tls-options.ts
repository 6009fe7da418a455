/**
 * PgBouncer's way of writing protocols, ciphers and curves, in OpenSSL's terms and Node's. It reads no file.
 */
import { constants } from 'node:crypto';
import { DEFAULT_CIPHERS, type SecureContextOptions, type SecureVersion } from 'node:tls';
import { TLS_PROTOCOLS, type TlsProtocol } from '../config/tls-kinds.ts';

export interface CipherSettings {
  readonly protocols: readonly TlsProtocol[];
  readonly ciphers: string;
  readonly tls13Ciphers: string;
}

const VERSIONS: Readonly<Record<TlsProtocol, { readonly version: SecureVersion; readonly off: number }>> = {
  'tlsv1.0': { version: 'TLSv1', off: constants.SSL_OP_NO_TLSv1 },
  'tlsv1.1': { version: 'TLSv1.1', off: constants.SSL_OP_NO_TLSv1_1 },
  'tlsv1.2': { version: 'TLSv1.2', off: constants.SSL_OP_NO_TLSv1_2 },
  'tlsv1.3': { version: 'TLSv1.3', off: constants.SSL_OP_NO_TLSv1_3 },
};

const isOf13 = (cipher: string): boolean => cipher.startsWith('TLS_');
const DEFAULTS = DEFAULT_CIPHERS.split(':');
const DEFAULT_OF_13 = DEFAULTS.filter(isOf13).join(':');
const DEFAULT_OF_OLDER = DEFAULTS.filter((cipher) => !isOf13(cipher)).join(':');
/** All that encrypts and says who is there. */
const ALL = 'ALL:!aNULL:!eNULL';

/** Words for lists; those of older versions of PgBouncer too. */
const CIPHER_WORDS: ReadonlyMap<string, string> = new Map([
  ...['default', 'secure', 'fast', 'normal', 'compat', 'legacy'].map((word) => [word, DEFAULT_OF_OLDER] as const),
  ...['all', 'insecure'].map((word) => [word, ALL] as const),
]);

/** `without`: more rules for OpenSSL's list, such as `:!kDHE`. */
export function cipherOptions(
  { protocols, ciphers, tls13Ciphers }: CipherSettings,
  without = '',
): SecureContextOptions {
  const known = TLS_PROTOCOLS.filter((protocol) => protocols.includes(protocol));
  const off = TLS_PROTOCOLS.filter((protocol) => !protocols.includes(protocol));
  const listed = CIPHER_WORDS.get(ciphers.toLowerCase()) ?? ciphers;
  const words = listed.split(/[:, ]+/).filter((word) => word !== '');
  // As in PgBouncer: without a list of its own, TLS 1.3 takes what the other one names of it.
  const of13 = tls13Ciphers.split(/[:, ]+/).filter((word) => word !== '');
  const suites = (of13.length > 0 ? of13 : words.filter(isOf13)).join(':') || DEFAULT_OF_13;
  const older = words.filter((word) => !isOf13(word)).join(':') || DEFAULT_OF_OLDER;
  return {
    minVersion: VERSIONS[known.at(0) ?? 'tlsv1.2'].version,
    maxVersion: VERSIONS[known.at(-1) ?? 'tlsv1.3'].version,
    secureOptions: off.reduce((options, protocol) => options | VERSIONS[protocol].off, OPTIONS),
    // Node leaves out TLS 1.3 altogether where no suite of it is named.
    ciphers: `${suites}:${older}${without}`,
  };
}

/**
 * As in PostgreSQL: no renegotiation, and nobody comes back with the session of an earlier connection, for then its
 * certificate would not be asked for.
 */
const OPTIONS = constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_COMPRESSION;
