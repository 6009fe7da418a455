/** Startup packets: what they are, and that no bytes whatever make the parser throw, hang, or look outside. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  MAX_STARTUP_BYTES,
  parseStartupPacket,
  type StartupPacket,
  startupPacketLength,
} from '../../../src/protocol/startup-packet.ts';
import { client, int32, packet } from '../../support/wire.ts';

const parse = (bytes: Buffer): StartupPacket => parseStartupPacket(bytes, 0, bytes.length);
const VERSION_3 = 196_608;

describe('length', () => {
  test.each([
    [[], null],
    [[0], null],
    [[0, 0, 0], null],
    [[0, 0, 0, 8], 8],
    [[0, 0, 0x27, 0x10], 10_000],
    [[0, 0, 0, 0], 'malformed'],
    [[0, 0, 0, 7], 'malformed'],
    [[0, 0, 0x27, 0x11], 'malformed'],
    [[0, 1, 0, 0], 'malformed'],
    // The first byte tells at once.
    [[1], 'malformed'],
    [[0x16], 'malformed'],
    [[0x51, 0], 'malformed'],
    [[255, 255, 255, 255], 'malformed'],
  ] as const)('%j: %s', (bytes, expected) => {
    const padded = Buffer.from([9, 9, ...bytes, 9, 9]);
    expect(startupPacketLength(padded, 2, 2 + bytes.length)).toBe(expected);
  });
});

describe('kinds', () => {
  test('negotiation', () => {
    expect(parse(client.ssl())).toEqual({ kind: 'ssl' });
    expect(parse(client.gssenc())).toEqual({ kind: 'gssenc' });
    expect(parse(packet(int32(80_877_103), Buffer.of(0))).kind).toBe('malformed');
  });

  test('a cancel with a key of protocol 3.0, and of 3.2', () => {
    for (const length of [8, 36, 260]) {
      const key = Buffer.alloc(length, 7);
      expect(parse(client.cancel(key))).toEqual({ kind: 'cancel', key });
    }
  });

  test('the key is a copy', () => {
    const bytes = client.cancel(Buffer.alloc(8, 7));
    const result = parse(bytes);
    bytes.fill(0xdb);
    expect(result).toEqual({ kind: 'cancel', key: Buffer.alloc(8, 7) });
  });

  test.each([0, 4, 7, 261, 300])('a cancel with a key of %i bytes, which is nobody’s, is one too', (length) => {
    expect(parse(client.cancel(Buffer.alloc(length)))).toEqual({ kind: 'cancel', key: Buffer.alloc(length) });
  });

  test.each([
    [131_072, { kind: 'old-protocol' }],
    [4 << 16, { kind: 'unsupported', major: 4, minor: 0 }],
    [0, { kind: 'unsupported', major: 0, minor: 0 }],
    [0xffff_ffff, { kind: 'unsupported', major: 65_535, minor: 65_535 }],
    [1234 << 16, { kind: 'unsupported', major: 1234, minor: 0 }],
  ])('version %i', (version, expected) => {
    expect(parse(packet(int32(version)))).toEqual(expected);
  });

  test('protocol options stand apart from parameters, in their order, as often as they were given', () => {
    const result = parse(body('_pq_.b\0x\0user\0app\0_pq_.a\0\0_pq_\0y\0_PQ_.a\0z\0_pq_.b\0x\0\0'));
    if (result.kind !== 'startup') throw new Error(result.kind);
    expect(result.protocolOptions).toEqual(['_pq_.b', '_pq_.a', '_pq_.b']);
    expect([...result.parameters.keys()]).toEqual(['user', '_pq_', '_PQ_.a']);
  });

  test('startup, with its minor version and parameters in their order', () => {
    const result = parse(client.startup({ user: 'alice', database: 'db', options: '' }, VERSION_3 + 2));
    if (result.kind !== 'startup') throw new Error(result.kind);
    expect(result.minor).toBe(2);
    expect(result.protocolOptions).toEqual([]);
    expect([...result.parameters]).toEqual([
      ['user', 'alice'],
      ['database', 'db'],
      ['options', ''],
    ]);
  });
});

const body = (...bytes: readonly (Buffer | string)[]) =>
  packet(int32(VERSION_3), ...bytes.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));

describe('parameters', () => {
  test.each([
    ['nothing at all', body()],
    ['no terminator', body('user\0app\0')],
    ['a name without a value', body('user\0')],
    ['a name without its end', body('user')],
    ['a value without its end', body('user\0app')],
    ['an odd number', body('user\0app\0database\0\0')],
    ['bytes behind the terminator', body('user\0app\0\0x')],
    ['a second terminator', body('user\0app\0\0\0')],
  ])('%s is malformed', (_what, bytes) => {
    expect(parse(bytes).kind).toBe('malformed');
  });

  test('NULs behind the packet are not its own', () => {
    const bytes = body('user\0app');
    const result = parseStartupPacket(Buffer.concat([bytes, Buffer.from('\0\0\0\0')]), 0, bytes.length);
    expect(result.kind).toBe('malformed');
  });

  test('of a name given twice the last value counts', () => {
    const result = parse(body('user\0eve\0user\0app\0\0'));
    expect(result.kind === 'startup' && result.parameters.get('user')).toBe('app');
  });

  test('what is no UTF-8 becomes text all the same', () => {
    const result = parse(body('user\0', Buffer.from([0xff, 0xfe, 0x80, 0]), '\0'));
    expect(result.kind === 'startup' && result.parameters.get('user')).toBe('\ufffd\ufffd\ufffd');
  });

  test('round trip', () => {
    const text = fc.string({ minLength: 1, maxLength: 20 }).map((value) => value.replaceAll('\0', '?'));
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(text, text), { maxLength: 30, selector: ([name]) => name }), (pairs) => {
        const bytes = Buffer.concat([...pairs.flat().map((value) => Buffer.from(`${value}\0`)), Buffer.of(0)]);
        const result = parse(packet(int32(VERSION_3), bytes));
        expect(result.kind === 'startup' ? [...result.parameters] : result.kind).toEqual(
          pairs.map(([name, value]) => [wellFormed(name), wellFormed(value)]),
        );
      }),
      { seed: 1 },
    );
  });
});

/** Lone surrogates have no UTF-8. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

test('arbitrary bytes never throw, and never take long', () => {
  const startedAt = performance.now();
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 8, maxLength: 300 }),
      fc.constantFrom(null, 196_608, 80_877_102),
      (bytes, code) => {
        const buffer = Buffer.from(bytes);
        if (code !== null) buffer.writeUInt32BE(code, 4);
        const result = parse(buffer);
        expect(typeof result.kind).toBe('string');
      },
    ),
    { numRuns: 3000, seed: 2 },
  );
  for (const filler of [0, 65]) {
    const worst = Buffer.alloc(MAX_STARTUP_BYTES, filler);
    worst.writeUInt32BE(VERSION_3, 4);
    parse(worst);
  }
  expect(performance.now() - startedAt).toBeLessThan(10_000);
});
