/**
 * Keys and certificates as they are in their files, read and held against each other, so that what is wrong is said by
 * file and in words. It makes no context. A message never repeats what a file holds.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ConfigError } from '../config/config-error.ts';

export interface KeyPair {
  /** As PEM: what OpenSSL is given. */
  readonly key: string;
  readonly cert: string;
  /** DER of the first certificate, the one that belongs to the key. */
  readonly certificate: Buffer;
}

const CERTIFICATE = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/;

/** Throws a ConfigError. */
export function readKeyPair(keyFile: string, certFile: string): KeyPair {
  const key = readPem(keyFile);
  const cert = readPem(certFile);
  const privateKey = parseKey(key, keyFile);
  const certificate = parseCertificate(cert, certFile);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw problem(keyFile, `the key does not belong to the certificate in ${certFile}`);
  }
  return { key, cert, certificate: certificate.raw };
}

/** One or more certificates, as PEM. Throws a ConfigError. */
export function readCertificates(file: string): string {
  const pem = readPem(file);
  parseCertificate(pem, file);
  return pem;
}

/**
 * OpenSSL keeps a list of what went wrong, and Node does not always empty it: after a curve that does not exist, the next
 * good key was refused for it [tried]. A failure that Node does clean up after takes the others along.
 */
export function forgetOpensslErrors(): void {
  try {
    createPrivateKey('');
  } catch {
    // That was the point.
  }
}

export function problem(file: string | null, message: string): ConfigError {
  return new ConfigError([Object.freeze({ file, line: null, column: null, path: null, message })]);
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw problem(file, `cannot be read: ${code === 'ENOENT' ? 'no such file' : code}`);
  }
}

function parseKey(pem: string, file: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    const isLocked = code === 'ERR_MISSING_PASSPHRASE' || /ENCRYPTED/.test(pem);
    throw problem(file, isLocked ? 'the key has a passphrase, which cannot be given' : 'no private key in PEM');
  }
}

function parseCertificate(pem: string, file: string): X509Certificate {
  try {
    if (CERTIFICATE.test(pem)) return new X509Certificate(pem);
  } catch {
    // Said below.
  }
  throw problem(file, 'no certificate in PEM');
}
