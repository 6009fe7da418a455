/**
 * Whether a certificate is for a host, by libpq's rules (PostgreSQL manual 34.19.1): it is what verify-full means to
 * those who have tried their certificates with psql. Node's own check knows other ones.
 */
import { isIP } from 'node:net';
import { type CertificateNames, commonNameOf } from './certificate-names.ts';

/**
 * `host`: as it is configured, a name or a literal address. The CN counts only in a certificate that names nothing of
 * the host's kind; a name may begin with `*.`, which stands for one label.
 */
export function isForHost(names: CertificateNames, host: string): boolean {
  const address = addressBytes(host);
  if (names.dnsNames.some((name) => matches(name, host))) return true;
  if (address !== null && names.ipAddresses.some((entry) => entry.equals(address))) return true;
  const namesOfItsKind = address === null ? names.dnsNames.length : names.ipAddresses.length;
  const commonName = commonNameOf(names);
  return namesOfItsKind === 0 && commonName !== null && matches(commonName, host);
}

function matches(pattern: string, host: string): boolean {
  // A NUL, or anything else that is no name, is not looked at any further (CVE-2009-4034).
  if (pattern === '' || pattern.includes('\0')) return false;
  const name = pattern.toLowerCase();
  const wanted = host.toLowerCase();
  if (name === wanted) return true;
  if (!name.startsWith('*.') || name.length < 3) return false;
  const dot = wanted.indexOf('.');
  return dot > 0 && wanted.slice(dot) === name.slice(1);
}

/** The bytes of a literal address, as a certificate has them; null for a name. */
function addressBytes(host: string): Buffer | null {
  const version = isIP(host);
  if (version === 0) return null;
  if (version === 4) return Buffer.from(host.split('.').map(Number));
  // Without a zone, and with an IPv4 part in hexadecimal.
  const plain = host.replace(/%.*$/, '').replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
  const [head = '', tail] = plain.split('::');
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function groups(text: string): string[] {
  return text === '' ? [] : text.split(':');
}
