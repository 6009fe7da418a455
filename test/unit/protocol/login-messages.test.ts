/** What servers send while one logs in, whole and broken. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  parseAuthenticationRequest,
  parseNegotiation,
  parseParameterStatus,
} from '../../../src/protocol/login-messages.ts';
import { bytesOf, int32, type Part } from '../../support/wire.ts';

function authentication(...parts: readonly Part[]) {
  const body = bytesOf(...parts);
  const padded = Buffer.concat([Buffer.from([0, 0]), body, Buffer.from('more\0')]);
  const result = parseAuthenticationRequest(padded, 2, 2 + body.length);
  padded.fill(0xdb);
  return result;
}

describe('authentication requests', () => {
  test.each([
    ['ok', [int32(0)], { kind: 'ok' }],
    ['cleartext', [int32(3)], { kind: 'cleartext' }],
    ['MD5', [int32(5), Buffer.from('salt')], { kind: 'md5', salt: Buffer.from('salt') }],
    [
      'SASL',
      [int32(10), 'SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256', Buffer.of(0)],
      { kind: 'sasl', mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'] },
    ],
    ['SASLContinue', [int32(11), Buffer.from('r=x')], { kind: 'sasl-continue', data: Buffer.from('r=x') }],
    ['SASLFinal', [int32(12), Buffer.from('v=x')], { kind: 'sasl-final', data: Buffer.from('v=x') }],
    ['GSS', [int32(7)], { kind: 'unsupported', code: 7 }],
    ['something newer', [int32(99), Buffer.from('x')], { kind: 'unsupported', code: 99 }],
    ['ok with more', [int32(0), Buffer.of(1)], { kind: 'unsupported', code: 0 }],
    ['MD5 with a short salt', [int32(5), Buffer.from('sal')], { kind: 'unsupported', code: 5 }],
    ['too short', [Buffer.of(0, 0, 0)], { kind: 'unsupported', code: -1 }],
    ['nothing', [], { kind: 'unsupported', code: -1 }],
    ['SASL without an end', [int32(10), Buffer.from('SCRAM')], { kind: 'sasl', mechanisms: [] }],
    ['SASL without mechanisms', [int32(10), Buffer.of(0)], { kind: 'sasl', mechanisms: [] }],
  ] as const)('%s', (_what, parts, expected) => {
    expect(authentication(...parts)).toEqual(expected);
  });

  test('many mechanisms are bounded', () => {
    const request = authentication(int32(10), ...Array.from({ length: 1000 }, (_, i) => `M${i}`), Buffer.of(0));
    expect(request.kind === 'sasl' && request.mechanisms.length).toBeLessThan(100);
  });
});

const negotiation = (...parts: readonly Part[]) => {
  const body = bytesOf(...parts);
  const padded = Buffer.concat([Buffer.from([0, 0]), body, Buffer.alloc(20)]);
  return parseNegotiation(padded, 2, 2 + body.length);
};

describe('NegotiateProtocolVersion', () => {
  test('is a version and a number of options that were not understood', () => {
    expect(negotiation(int32(196_610), int32(0))).toEqual({ version: 196_610, unknownOptions: 0 });
    expect(negotiation(int32(-1), int32(2), '_pq_.a', '_pq_.b')).toEqual({
      version: 0xffff_ffff,
      unknownOptions: 2,
    });
  });

  test.each([
    ['nothing', []],
    ['a version alone', [int32(196_608)]],
    ['half a number', [int32(196_608), Buffer.of(0, 0, 0)]],
    ['more than it says', [int32(196_608), int32(0), '_pq_.a']],
  ])('%s is none', (_what, parts: readonly Part[]) => {
    expect(negotiation(...parts)).toBeNull();
  });
});

const parseStatus = (text: string) => {
  const body = Buffer.from(text);
  const padded = Buffer.concat([Buffer.from('x\0'), body, Buffer.from('more\0more\0')]);
  return parseParameterStatus(padded, 2, 2 + body.length);
};

describe('ParameterStatus', () => {
  test('is a name and a value', () => {
    expect(parseStatus('TimeZone\0Etc/UTC\0')).toEqual(['TimeZone', 'Etc/UTC']);
    expect(parseStatus('application_name\0\0')).toEqual(['application_name', '']);
  });

  test.each(['', '\0', 'name', 'name\0', 'name\0value', 'name\0value\0x', 'name\0value\0more\0'])(
    '%j is none',
    (text) => {
      expect(parseStatus(text)).toBeNull();
    },
  );
});

test('arbitrary bytes never throw', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 100 }),
      fc.nat(100),
      fc.constantFrom(null, 0, 3, 5, 10, 11, 12),
      (bytes, place, code) => {
        const buffer = Buffer.from(bytes);
        const from = Math.min(place, buffer.length);
        if (code !== null && buffer.length - from >= 4) buffer.writeUInt32BE(code, from);
        expect(typeof parseAuthenticationRequest(buffer, from, buffer.length).kind).toBe('string');
        parseNegotiation(buffer, from, buffer.length);
        parseParameterStatus(buffer, from, buffer.length);
      },
    ),
    { numRuns: 2000, seed: 1 },
  );
});
