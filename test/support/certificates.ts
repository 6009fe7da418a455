/**
 * Certificates made while a test runs: keys by Node, and the few kinds of DER that X.509 needs, written here (RFC 5280).
 * It knows nothing of TLS.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface Certificate {
  /** PEM. */
  readonly key: string;
  readonly cert: string;
  readonly der: Buffer;
  readonly subject: Subject;
  /** How it signs: by its own key. */
  readonly algorithm: Algorithm;
}

/** Attributes in their order: short name (or OID) and value. */
type Subject = readonly (readonly [type: string, value: string])[];

export interface CertificateOptions {
  readonly subject?: Subject;
  readonly dns?: readonly string[];
  readonly ip?: readonly string[];
  /** Who signs it; without one it signs itself. */
  readonly issuer?: Certificate;
  readonly isAuthority?: boolean;
  /** Relative to now. */
  readonly validDays?: readonly [from: number, to: number];
  /** Of its key, and of what that signs. */
  readonly algorithm?: Algorithm;
}

type Algorithm = keyof typeof SIGNATURES;

const OIDS: Readonly<Record<string, string>> = {
  CN: '2.5.4.3',
  C: '2.5.4.6',
  O: '2.5.4.10',
  OU: '2.5.4.11',
  DC: '0.9.2342.19200300.100.1.25',
};
const DAY_MS = 86_400_000;

const SIGNATURES = {
  'ecdsa-sha256': { oid: '1.2.840.10045.4.3.2', hash: 'sha256', parameters: Buffer.alloc(0) },
  'ecdsa-sha384': { oid: '1.2.840.10045.4.3.3', hash: 'sha384', parameters: Buffer.alloc(0) },
  'rsa-sha256': { oid: '1.2.840.113549.1.1.11', hash: 'sha256', parameters: Buffer.of(5, 0) },
  'rsa-sha512': { oid: '1.2.840.113549.1.1.13', hash: 'sha512', parameters: Buffer.of(5, 0) },
  ed25519: { oid: '1.3.101.112', hash: null, parameters: Buffer.alloc(0) },
} as const;

export function makeCertificate(options: CertificateOptions = {}): Certificate {
  const { subject = [['CN', 'localhost']], algorithm = 'ecdsa-sha256', validDays = [-1, 30] } = options;
  const { publicKey, privateKey } = generateKey(algorithm);
  const issuer = options.issuer ?? null;
  const signature = SIGNATURES[issuer?.algorithm ?? algorithm];
  const signatureAlgorithm = sequence(oid(signature.oid), signature.parameters);
  const [from, to] = validDays;
  const tbs = sequence(
    tagged(0xa0, tagged(0x02, Buffer.of(2))),
    tagged(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    signatureAlgorithm,
    name(issuer?.subject ?? subject),
    sequence(time(from), time(to)),
    name(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions(options))),
  );
  const signer = issuer === null ? privateKey : createPrivateKey(issuer.key);
  const der = sequence(tbs, signatureAlgorithm, bits(sign(signature.hash, tbs, signer)));
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${der
      .toString('base64')
      .match(/.{1,64}/g)
      ?.join('\n')}\n-----END CERTIFICATE-----\n`,
    der,
    subject,
    algorithm,
  };
}

/** A root that can sign others. */
export function makeAuthority(commonName = 'test root'): Certificate {
  return makeCertificate({ subject: [['CN', commonName]], isAuthority: true });
}

/** Writes texts into files of a folder that goes when `atEnd` says so, usually with the present test. Returns the paths. */
export function writeFiles<Name extends string>(
  texts: Readonly<Record<Name, string>>,
  atEnd: (remove: () => void) => void = onTestFinished,
): Record<Name, string> {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-tls-'));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  const entries = Object.entries<string>(texts).map(([file, text]) => {
    const path = join(folder, `${file}.pem`);
    writeFileSync(path, text, { mode: 0o600 });
    return [file, path];
  });
  return Object.fromEntries(entries) as Record<Name, string>;
}

function generateKey(algorithm: Algorithm): { publicKey: KeyObject; privateKey: KeyObject } {
  if (algorithm === 'ed25519') return generateKeyPairSync('ed25519');
  if (algorithm.startsWith('rsa')) return generateKeyPairSync('rsa', { modulusLength: 2048 });
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function extensions({ dns = [], ip = [], isAuthority = false }: CertificateOptions): Buffer[] {
  const isCritical = tagged(0x01, Buffer.of(0xff));
  const basic = isAuthority ? sequence(isCritical) : sequence();
  const found = [sequence(oid('2.5.29.19'), isCritical, octets(basic))];
  const names = [
    ...dns.map((entry) => tagged(0x82, Buffer.from(entry, 'latin1'))),
    ...ip.map((entry) => tagged(0x87, addressBytes(entry))),
  ];
  if (names.length > 0) found.push(sequence(oid('2.5.29.17'), octets(sequence(...names))));
  return found;
}

function addressBytes(address: string): Buffer {
  if (address === '::1') return Buffer.concat([Buffer.alloc(15), Buffer.of(1)]);
  return Buffer.from(address.split('.').map(Number));
}

function name(subject: Subject): Buffer {
  return sequence(
    ...subject.map(([type, value]) =>
      tagged(0x31, sequence(oid(OIDS[type] ?? type), tagged(0x0c, Buffer.from(value, 'utf8')))),
    ),
  );
}

function time(days: number): Buffer {
  const text = new Date(Date.now() + days * DAY_MS).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return tagged(0x18, Buffer.from(text));
}

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((part) => {
    const digits = [part % 128];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128))
      digits.unshift((left % 128) | 0x80);
    return digits;
  });
  return tagged(0x06, Buffer.from(bytes));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function octets(bytes: Buffer): Buffer {
  return tagged(0x04, bytes);
}

function bits(bytes: Buffer): Buffer {
  return tagged(0x03, Buffer.concat([Buffer.of(0), bytes]));
}

function tagged(tag: number, bytes: Buffer): Buffer {
  const { length } = bytes;
  const size = length < 0x80 ? Buffer.of(length) : length < 0x100 ? Buffer.of(0x81, length) : null;
  return Buffer.concat([Buffer.of(tag), size ?? Buffer.of(0x82, length >> 8, length & 0xff), bytes]);
}
