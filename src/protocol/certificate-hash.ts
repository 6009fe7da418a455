/**
 * What channel binding of the type tls-server-end-point binds to (RFC 5929 §4.1): the hash of the server's certificate,
 * by the hash function that the certificate itself is signed with. Node's X509Certificate does not tell which one that
 * is, so the signature algorithm is read from the DER. It knows nothing else of certificates, and trusts none of them.
 */
import { createHash } from 'node:crypto';

const SEQUENCE = 0x30;
const OBJECT_IDENTIFIER = 0x06;
/** `[0]`, in RSASSA-PSS-params: the hash algorithm, if it is not SHA-1. */
const EXPLICIT_0 = 0xa0;

/** id-RSASSA-PSS (RFC 4055 §3.1): the hash function is a parameter. */
const RSASSA_PSS = '1.2.840.113549.1.1.10';

/** RFC 5929 has it for MD5, too. */
const REPLACES_SHA_1 = 'sha256';

/**
 * Hash functions by signature algorithm, by Node's names. Not here are Ed25519 and Ed448, for which
 * RFC 5929 defines nothing: PostgreSQL and libpq fail with them.
 */
const SIGNATURE_HASHES: ReadonlyMap<string, string> = new Map([
  // RSA, PKCS #1 (RFC 8017, appendix C)
  ['1.2.840.113549.1.1.4', REPLACES_SHA_1], // MD5
  ['1.2.840.113549.1.1.5', REPLACES_SHA_1],
  ['1.2.840.113549.1.1.14', 'sha224'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.113549.1.1.15', 'sha512-224'],
  ['1.2.840.113549.1.1.16', 'sha512-256'],
  // ECDSA (RFC 5758)
  ['1.2.840.10045.4.1', REPLACES_SHA_1],
  ['1.2.840.10045.4.3.1', 'sha224'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  // NIST's signature algorithms: DSA with SHA-2, then DSA, ECDSA and RSA with SHA-3
  ['1.2.840.10040.4.3', REPLACES_SHA_1],
  ['2.16.840.1.101.3.4.3.1', 'sha224'],
  ['2.16.840.1.101.3.4.3.2', 'sha256'],
  ['2.16.840.1.101.3.4.3.3', 'sha384'],
  ['2.16.840.1.101.3.4.3.4', 'sha512'],
  ...['sha3-224', 'sha3-256', 'sha3-384', 'sha3-512'].flatMap((hash, i): [string, string][] => [
    [`2.16.840.1.101.3.4.3.${5 + i}`, hash],
    [`2.16.840.1.101.3.4.3.${9 + i}`, hash],
    [`2.16.840.1.101.3.4.3.${13 + i}`, hash],
  ]),
]);

/** Hash functions by their own identifiers, as RSASSA-PSS names them. */
const DIGESTS: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.2.5', REPLACES_SHA_1], // MD5
  ['1.3.14.3.2.26', REPLACES_SHA_1],
  ['2.16.840.1.101.3.4.2.4', 'sha224'],
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
  ['2.16.840.1.101.3.4.2.5', 'sha512-224'],
  ['2.16.840.1.101.3.4.2.6', 'sha512-256'],
  ['2.16.840.1.101.3.4.2.7', 'sha3-224'],
  ['2.16.840.1.101.3.4.2.8', 'sha3-256'],
  ['2.16.840.1.101.3.4.2.9', 'sha3-384'],
  ['2.16.840.1.101.3.4.2.10', 'sha3-512'],
]);

/**
 * The hash of a certificate in DER; null where none is defined, or the bytes are no certificate, or the platform lacks
 * the hash function: then there is nothing to bind to. Never throws.
 */
export function certificateHash(der: Buffer): Buffer | null {
  const name = hashOf(der);
  if (name === null) return null;
  try {
    return createHash(name).update(der).digest();
  } catch {
    return null;
  }
}

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue } (RFC 5280 §4.1). */
function hashOf(der: Buffer): string | null {
  const certificate = readElement(der, 0, der.length);
  if (certificate?.tag !== SEQUENCE || certificate.end !== der.length) return null;
  const toBeSigned = readElement(der, certificate.start, certificate.end);
  if (toBeSigned?.tag !== SEQUENCE) return null;
  const algorithm = readElement(der, toBeSigned.end, certificate.end);
  if (algorithm === null) return null;
  const identifier = readIdentifier(der, algorithm);
  if (identifier === null) return null;
  return identifier.text === RSASSA_PSS
    ? pssHash(der, identifier.end, algorithm.end)
    : (SIGNATURE_HASHES.get(identifier.text) ?? null);
}

/** RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm DEFAULT sha1, … }; without any, OpenSSL knows no hash function. */
function pssHash(der: Buffer, at: number, end: number): string | null {
  const parameters = readElement(der, at, end);
  if (parameters?.tag !== SEQUENCE) return null;
  if (parameters.start === parameters.end) return REPLACES_SHA_1;
  const first = readElement(der, parameters.start, parameters.end);
  if (first === null) return null;
  if (first.tag !== EXPLICIT_0) return REPLACES_SHA_1;
  const algorithm = readElement(der, first.start, first.end);
  const identifier = algorithm === null ? null : readIdentifier(der, algorithm);
  return identifier === null ? null : (DIGESTS.get(identifier.text) ?? null);
}

interface Element {
  readonly tag: number;
  /** Of the contents. */
  readonly start: number;
  readonly end: number;
}

/** One element of DER (X.690 §8.1) within `[at, end)`: short or long definite length, up to four bytes of it. */
function readElement(der: Buffer, at: number, end: number): Element | null {
  if (end - at < 2) return null;
  const tag = der[at]!;
  let length = der[at + 1]!;
  let start = at + 2;
  if (length >= 0x80) {
    const size = length & 0x7f;
    if (size === 0 || size > 4 || size > end - start) return null;
    length = der.readUIntBE(start, size);
    start += size;
  }
  return length > end - start ? null : { tag, start, end: start + length };
}

/** AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters }. `end` is where the parameters begin. */
function readIdentifier(der: Buffer, algorithm: Element): { readonly text: string; readonly end: number } | null {
  if (algorithm.tag !== SEQUENCE) return null;
  const element = readElement(der, algorithm.start, algorithm.end);
  if (element?.tag !== OBJECT_IDENTIFIER) return null;
  const numbers: number[] = [];
  let value = 0;
  for (let i = element.start; i < element.end; i++) {
    // Beyond what a number holds exactly it is none that we know, and stays none.
    value = value * 128 + (der[i]! & 0x7f);
    if (der[i]! < 0x80) {
      numbers.push(value);
      value = 0;
    }
  }
  const [first] = numbers;
  if (first === undefined) return null;
  // X.690 §8.19.4: the first two arcs share one number.
  const root = Math.min(2, Math.floor(first / 40));
  return { text: [root, first - root * 40, ...numbers.slice(1)].join('.'), end: element.end };
}
