/**
 * The names in a certificate, read from its DER: what Node tells of them is text that was made for people, in which a
 * comma or a NUL can stand for something else. It verifies nothing; OpenSSL has parsed the certificate before.
 *
 * Source: RFC 5280 §4.1, §4.2.1.6; RFC 2253 for the written form of a subject.
 */
import type { PeerIdentity } from '../base/transport-security.ts';

export interface CertificateNames {
  /** The subject's attributes in their order; those of one RDN have the same `rdn`. */
  readonly subject: readonly NameAttribute[];
  /** The dNSName entries of subjectAltName, byte for byte. */
  readonly dnsNames: readonly string[];
  /** The iPAddress entries: 4 or 16 bytes. */
  readonly ipAddresses: readonly Buffer[];
}

interface NameAttribute {
  readonly rdn: number;
  readonly oid: string;
  /** Null if it is not a string. */
  readonly value: string | null;
  /** The value with its tag and length. */
  readonly encoded: Buffer;
}

/** One element: its tag, and where its contents are. */
interface Element {
  readonly tag: number;
  readonly start: number;
  readonly from: number;
  readonly to: number;
}

const OBJECT_IDENTIFIER = 0x06;
const EXPLICIT_VERSION = 0xa0;
const EXPLICIT_EXTENSIONS = 0xa3;
const BOOLEAN = 0x01;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

const COMMON_NAME = '2.5.4.3';
const SUBJECT_ALT_NAME = '2.5.29.17';

/** OpenSSL's short names; what is not here is written as its number. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  [COMMON_NAME]: 'CN',
  '2.5.4.4': 'SN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'street',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.42': 'GN',
  '2.5.4.46': 'dnQualifier',
  '1.2.840.113549.1.9.1': 'emailAddress',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
};

/** `der`: a whole certificate. Throws a RangeError if it is none. */
export function certificateNames(der: Buffer): CertificateNames {
  const [certificate] = elements(der, 0, der.length);
  const [tbs] = inside(der, certificate);
  const fields = inside(der, tbs);
  // version (optional), serialNumber, signature, issuer, validity, subject
  const subject = fields[fields[0]?.tag === EXPLICIT_VERSION ? 5 : 4];
  const extensions = fields.find(({ tag }) => tag === EXPLICIT_EXTENSIONS);
  return { subject: attributesOf(der, subject), ...alternativeNames(der, extensions) };
}

/** Who the certificate says that its owner is. */
export function identityOf({ subject }: CertificateNames): PeerIdentity {
  const commonName = subject.find(({ oid }) => oid === COMMON_NAME)?.value ?? null;
  return {
    commonName: commonName === null || commonName === '' || commonName.includes('\0') ? null : commonName,
    distinguishedName: distinguishedName(subject),
  };
}

/** The value of the subject's first CN; null without one. */
export function commonNameOf({ subject }: CertificateNames): string | null {
  return subject.find(({ oid }) => oid === COMMON_NAME)?.value ?? null;
}

function elements(der: Buffer, from: number, to: number): Element[] {
  const found: Element[] = [];
  for (let at = from; at < to; ) {
    const element = elementAt(der, at);
    if (element.to > to) throw new RangeError('an element of DER ends behind what it is in');
    found.push(element);
    at = element.to;
  }
  return found;
}

function inside(der: Buffer, element: Element | undefined): Element[] {
  if (element === undefined) throw new RangeError('an element of the certificate is missing');
  return elements(der, element.from, element.to);
}

/** Throws a RangeError at the end of the buffer, as Buffer's own readers do. */
function elementAt(der: Buffer, start: number): Element {
  const tag = der.readUInt8(start);
  const first = der.readUInt8(start + 1);
  if (first < 0x80) return { tag, start, from: start + 2, to: start + 2 + first };
  const size = first & 0x7f;
  const from = start + 2 + size;
  return { tag, start, from, to: from + der.readUIntBE(start + 2, size) };
}

function attributesOf(der: Buffer, name: Element | undefined): NameAttribute[] {
  return inside(der, name).flatMap((rdn, index) =>
    inside(der, rdn).map((attribute) => {
      const [type, value] = inside(der, attribute);
      if (type === undefined || value === undefined) throw new RangeError('an attribute without a value');
      return {
        rdn: index,
        oid: oidOf(der, type),
        value: textOf(der, value),
        encoded: der.subarray(value.start, value.to),
      };
    }),
  );
}

function alternativeNames(der: Buffer, extensions: Element | undefined): Omit<CertificateNames, 'subject'> {
  const dnsNames: string[] = [];
  const ipAddresses: Buffer[] = [];
  if (extensions === undefined) return { dnsNames, ipAddresses };
  for (const extension of inside(der, inside(der, extensions)[0])) {
    const [type, second, third] = inside(der, extension);
    if (type === undefined || oidOf(der, type) !== SUBJECT_ALT_NAME) continue;
    const [names] = inside(der, second?.tag === BOOLEAN ? third : second);
    for (const { tag, from, to } of inside(der, names)) {
      if (tag === DNS_NAME) dnsNames.push(der.toString('latin1', from, to));
      else if (tag === IP_ADDRESS) ipAddresses.push(der.subarray(from, to));
    }
  }
  return { dnsNames, ipAddresses };
}

function oidOf(der: Buffer, { tag, from, to }: Element): string {
  if (tag !== OBJECT_IDENTIFIER) throw new RangeError('expected an object identifier');
  const parts: number[] = [];
  let part = 0;
  for (let at = from; at < to; at++) {
    part = part * 128 + (der[at]! & 0x7f);
    if (der[at]! >= 0x80) continue;
    parts.push(part);
    part = 0;
  }
  const first = parts[0] ?? 0;
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - root * 40, ...parts.slice(1)].join('.');
}

/** The string types of a DirectoryString, and IA5String. */
function textOf(der: Buffer, { tag, from, to }: Element): string | null {
  switch (tag) {
    case 0x0c: // UTF8String
      return der.toString('utf8', from, to);
    case 0x12: // NumericString
    case 0x13: // PrintableString
    case 0x14: // TeletexString: Latin-1 to OpenSSL
    case 0x16: // IA5String
    case 0x1a: // VisibleString
      return der.toString('latin1', from, to);
    case 0x1e: // BMPString
      return (to - from) % 2 === 0 ? Buffer.from(der.subarray(from, to)).swap16().toString('utf16le') : null;
    default:
      return null;
  }
}

function distinguishedName(subject: readonly NameAttribute[]): string {
  const rdns: string[] = [];
  for (const attribute of subject) {
    const written = `${SHORT_NAMES[attribute.oid] ?? attribute.oid}=${writtenValue(attribute)}`;
    const before = rdns[attribute.rdn];
    rdns[attribute.rdn] = before === undefined ? written : `${written}+${before}`;
  }
  return rdns.toReversed().join(',');
}

/** RFC 2253 §2.4: a value of a type without a name, or that is no string, as hexadecimal DER. */
function writtenValue({ oid, value, encoded }: NameAttribute): string {
  if (value === null || SHORT_NAMES[oid] === undefined) return `#${encoded.toString('hex').toUpperCase()}`;
  let written = '';
  const bytes = Buffer.from(value);
  for (const [at, byte] of bytes.entries()) {
    const character = String.fromCharCode(byte);
    const isEdge = (at === 0 && (byte === 0x20 || byte === 0x23)) || (at === bytes.length - 1 && byte === 0x20);
    if (byte < 0x20 || byte > 0x7e) written += `\\${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    else written += isEdge || ',+"\\<>;'.includes(character) ? `\\${character}` : character;
  }
  return written;
}
