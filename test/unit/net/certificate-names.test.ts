import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { certificateNames, identityOf } from '../../../src/net/certificate-names.ts';
import { isForHost } from '../../../src/net/server-name.ts';
import { type CertificateOptions, makeCertificate } from '../../support/certificates.ts';

const namesOf = (options: CertificateOptions) => certificateNames(makeCertificate(options).der);

describe('the names in a certificate', () => {
  test('are read as they are written', () => {
    const names = namesOf({ subject: [['CN', 'böse']], dns: ['a.example', '*.b.example'], ip: ['10.0.0.1', '::1'] });
    expect(names.dnsNames).toEqual(['a.example', '*.b.example']);
    expect(names.ipAddresses.map((bytes) => bytes.toString('hex'))).toEqual([
      '0a000001',
      '00000000000000000000000000000001',
    ]);
    expect(names.subject.map(({ oid, value }) => [oid, value])).toEqual([['2.5.4.3', 'böse']]);
  });

  test('are the same that OpenSSL finds', () => {
    const { der } = makeCertificate({
      subject: [
        ['O', 'one'],
        ['CN', 'two'],
      ],
      dns: ['a.example'],
      ip: ['10.0.0.1'],
    });
    const certificate = new X509Certificate(der);
    expect(certificate.subject).toBe('O=one\nCN=two');
    expect(certificate.subjectAltName).toBe('DNS:a.example, IP Address:10.0.0.1');
    expect(identityOf(certificateNames(der))).toEqual({ commonName: 'two', distinguishedName: 'CN=two,O=one' });
  });

  test.each(['ecdsa-sha256', 'ecdsa-sha384', 'rsa-sha256', 'rsa-sha512', 'ed25519'] as const)(
    'of a key for %s',
    (algorithm) => {
      const { der } = makeCertificate({ algorithm, dns: ['a.example'] });
      expect(new X509Certificate(der).verify(new X509Certificate(der).publicKey)).toBe(true);
      expect(certificateNames(der).dnsNames).toEqual(['a.example']);
    },
  );

  test.each([
    [
      [
        ['CN', 'first'],
        ['CN', 'second'],
      ],
      'first',
      'CN=second,CN=first',
    ],
    [[['CN', 'dave\0.example']], null, 'CN=dave\\00.example'],
    [[['CN', '']], null, 'CN='],
    [[['O', 'nobody']], null, 'O=nobody'],
    [[], null, ''],
    [[['CN', 'a,b+c"d\\e<f>g;h']], 'a,b+c"d\\e<f>g;h', 'CN=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h'],
    [[['CN', '#x ']], '#x ', 'CN=\\#x\\ '],
    [[['CN', ' x']], ' x', 'CN=\\ x'],
    [[['CN', 'ä']], 'ä', 'CN=\\C3\\A4'],
    [
      [
        ['DC', 'example'],
        ['DC', 'db'],
      ],
      null,
      'DC=db,DC=example',
    ],
    [[['1.2.3.4', 'odd']], null, '1.2.3.4=#0C036F6464'],
  ] as const)('%j is %j, and written %s', (subject, commonName, distinguishedName) => {
    expect(identityOf(namesOf({ subject }))).toEqual({ commonName, distinguishedName });
  });

  test('of a certificate that was cut anywhere are a RangeError, or fewer', () => {
    const { der } = makeCertificate({ dns: ['a.example'] });
    for (let length = 0; length < der.length; length++) {
      expect(() => certificateNames(der.subarray(0, length))).toThrow(RangeError);
    }
  });
});

describe('a certificate is for a host', () => {
  test.each([
    // names, host, verdict
    [{ dns: ['db.example'] }, 'db.example', true],
    [{ dns: ['DB.Example'] }, 'db.eXample', true],
    [{ dns: ['db.example'] }, 'db.example.evil', false],
    [{ dns: ['db.example'] }, 'xdb.example', false],
    [{ dns: ['*.example'] }, 'db.example', true],
    [{ dns: ['*.example'] }, 'a.db.example', false],
    [{ dns: ['*.example'] }, 'example', false],
    [{ dns: ['*.example'] }, '.example', false],
    [{ dns: ['*.'] }, 'db.', false],
    [{ dns: ['*'] }, 'db', false],
    [{ dns: ['d*.example'] }, 'db.example', false],
    [{ dns: ['db.*'] }, 'db.example', false],
    [{ dns: ['db.example\0.evil'] }, 'db.example', false],
    [{ dns: ['a'.repeat(63) + '.' + 'b'.repeat(63)] }, 'a'.repeat(32), false],
    [{ dns: ['other', 'db.example'] }, 'db.example', true],
    // The CN counts where no name of the host's kind is given.
    [{ subject: [['CN', 'db.example']] }, 'db.example', true],
    [{ subject: [['CN', '*.example']] }, 'db.example', true],
    [{ subject: [['CN', 'db.example']], dns: ['other'] }, 'db.example', false],
    [{ subject: [['CN', 'db.example']], ip: ['10.0.0.1'] }, 'db.example', true],
    [{ subject: [['CN', 'db.example\0']] }, 'db.example', false],
    [{ subject: [['O', 'db.example']] }, 'db.example', false],
    [{ subject: [] }, 'db.example', false],
    // Addresses
    [{ ip: ['10.0.0.1'] }, '10.0.0.1', true],
    [{ ip: ['10.0.0.1'] }, '10.0.0.2', false],
    [{ ip: ['::1'] }, '::1', true],
    [{ ip: ['::1'] }, '0:0:0:0:0:0:0:1', true],
    [{ ip: ['::1'] }, '::0.0.0.1', true],
    [{ ip: ['::1'] }, '::2', false],
    [{ dns: ['10.0.0.1'] }, '10.0.0.1', true],
    [{ subject: [['CN', '10.0.0.1']] }, '10.0.0.1', true],
    [{ subject: [['CN', '10.0.0.1']], ip: ['10.0.0.2'] }, '10.0.0.1', false],
    [{ subject: [['CN', '10.0.0.1']], dns: ['other'] }, '10.0.0.1', true],
  ] as const)('%j, %s: %s', (options, host, verdict) => {
    expect(isForHost(namesOf({ subject: [['CN', 'nobody']], ...options }), host)).toBe(verdict);
  });
});
