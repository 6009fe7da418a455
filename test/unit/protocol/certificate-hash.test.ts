import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { certificateHash } from '../../../src/protocol/certificate-hash.ts';
import { certificates } from './certificates.ts';

const hash = (name: string, der: Buffer): Buffer => createHash(name).update(der).digest();

/** DER, with the shortest length. */
function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const body = Buffer.concat(contents);
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([Buffer.of(tag, 0x84), length, body]);
}

function objectIdentifier(text: string): Buffer {
  const [root = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [root * 40 + second, ...rest].flatMap((value) => {
    const digits = [value % 128];
    for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128))
      digits.unshift(128 + (left % 128));
    return digits;
  });
  return der(0x06, Buffer.from(bytes));
}

const sequence = (...contents: readonly Buffer[]): Buffer => der(0x30, ...contents);
const algorithm = (identifier: string, ...parameters: readonly Buffer[]): Buffer =>
  sequence(objectIdentifier(identifier), ...parameters);
const signedBy = (signature: Buffer): Buffer =>
  sequence(sequence(Buffer.from('to be signed')), signature, der(0x03, Buffer.of(0, 1, 2)));

const PSS = '1.2.840.113549.1.1.10';
const mask = der(0xa1, algorithm('1.2.840.113549.1.1.8'));

describe('the hash of a certificate', () => {
  test.each([
    ['rsa-md5', 'sha256'],
    ['rsa-sha1', 'sha256'],
    ['rsa-sha256', 'sha256'],
    ['rsa-sha512-256', 'sha512-256'],
    ['rsa-sha3-256', 'sha3-256'],
    ['ecdsa-sha1', 'sha256'],
    ['ecdsa-sha384', 'sha384'],
    ['ecdsa-sha512', 'sha512'],
    ['pss-sha1', 'sha256'],
    ['pss-default', 'sha256'],
    ['pss-sha256', 'sha256'],
    ['pss-sha512', 'sha512'],
  ] as const)('of %s is %s', (name, expected) => {
    expect(certificateHash(certificates[name])).toEqual(hash(expected, certificates[name]));
  });

  test.each(['ed25519', 'ed448'] as const)('of %s is not defined', (name) => {
    expect(certificateHash(certificates[name])).toBeNull();
  });

  test.each([
    ['1.2.840.113549.1.1.14', 'sha224'],
    ['1.2.840.113549.1.1.12', 'sha384'],
    ['1.2.840.113549.1.1.13', 'sha512'],
    ['1.2.840.113549.1.1.15', 'sha512-224'],
    ['1.2.840.10045.4.3.1', 'sha224'],
    ['1.2.840.10045.4.3.2', 'sha256'],
    ['1.2.840.10040.4.3', 'sha256'],
    ['2.16.840.1.101.3.4.3.2', 'sha256'],
    ['2.16.840.1.101.3.4.3.5', 'sha3-224'],
    ['2.16.840.1.101.3.4.3.12', 'sha3-512'],
    ['2.16.840.1.101.3.4.3.15', 'sha3-384'],
  ])('signed by %s is %s', (identifier, expected) => {
    const bytes = signedBy(algorithm(identifier));
    expect(certificateHash(bytes)).toEqual(hash(expected, bytes));
  });

  test.each([
    ['a digest', [der(0xa0, algorithm('2.16.840.1.101.3.4.2.2')), mask], 'sha384'],
    ['SHA-3', [der(0xa0, algorithm('2.16.840.1.101.3.4.2.10'))], 'sha3-512'],
    ['only what is not the digest', [mask], 'sha256'],
    ['nothing', [], 'sha256'],
  ])('signed by RSASSA-PSS with %s', (_what, parameters, expected) => {
    const bytes = signedBy(algorithm(PSS, sequence(...parameters)));
    expect(certificateHash(bytes)).toEqual(hash(expected, bytes));
  });

  test.each([
    ['no parameters', algorithm(PSS)],
    ['parameters that are cut', algorithm(PSS, sequence(Buffer.of(0xa0)))],
    ['an unknown digest', algorithm(PSS, sequence(der(0xa0, algorithm('1.2.3'))))],
    ['an empty digest', algorithm(PSS, sequence(der(0xa0)))],
    ['a digest that is a number', algorithm(PSS, sequence(der(0xa0, sequence(der(0x02, Buffer.of(1))))))],
  ])('signed by RSASSA-PSS with %s is not defined', (_what, signature) => {
    expect(certificateHash(signedBy(signature))).toBeNull();
  });
});

describe('what is no certificate has none', () => {
  const good = certificates['ecdsa-sha384'];

  test('cut anywhere, or with a byte behind it', () => {
    for (let length = 0; length < good.length; length++) expect(certificateHash(good.subarray(0, length))).toBeNull();
    expect(certificateHash(Buffer.concat([good, Buffer.of(0)]))).toBeNull();
  });

  test.each([
    ['an indefinite length', Buffer.of(0x30, 0x80, 0, 0)],
    ['a length of 2^32 - 1', Buffer.of(0x30, 0x84, 255, 255, 255, 255, 1)],
    ['a length of five bytes', Buffer.of(0x30, 0x85, 0, 0, 0, 0, 1, 0)],
    ['no algorithm', sequence(sequence())],
    ['an algorithm without an identifier', signedBy(sequence())],
    ['an empty identifier', signedBy(sequence(der(0x06)))],
    ['an identifier that does not end', signedBy(sequence(der(0x06, Buffer.of(0x2a, 0x86))))],
    ['an identifier of ten thousand bytes', signedBy(sequence(der(0x06, Buffer.alloc(10_000, 0xff))))],
    ['a set', der(0x31, sequence(), algorithm('1.2.840.113549.1.1.11'))],
  ])('%s', (_what, bytes) => {
    expect(certificateHash(bytes)).toBeNull();
  });

  test('and no bytes make it throw', () => {
    const flipped = fc
      .tuple(fc.nat(good.length - 1), fc.nat(255))
      .map(([at, value]) => Buffer.concat([good.subarray(0, at), Buffer.of(value), good.subarray(at + 1)]));
    const any = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));
    const nested = fc.array(fc.constantFrom(0x30, 0x06, 0x80, 0x84, 0x02, 0, 1, 2, 255), { maxLength: 40 });
    fc.assert(
      fc.property(
        fc.oneof(
          flipped,
          any,
          nested.map((bytes) => Buffer.from(bytes)),
        ),
        (bytes) => {
          certificateHash(bytes);
        },
      ),
      { numRuns: 3000 },
    );
  });
});
