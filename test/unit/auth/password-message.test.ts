import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePasswordMessage, parseSaslInitialResponse } from '../../../src/auth/password-message.ts';

describe('parsePasswordMessage', () => {
  test('the bytes before the NUL, in memory of their own', () => {
    const body = Buffer.from('p\u00e4ss\0');
    const password = parsePasswordMessage(body);
    body.fill(0xdb);
    expect(password).toEqual(Buffer.from('p\u00e4ss'));
    expect(parsePasswordMessage(Buffer.from('\0'))).toEqual(Buffer.alloc(0));
    expect(parsePasswordMessage(Buffer.concat([Buffer.alloc(65_534, 1), Buffer.alloc(1)]))).toHaveLength(65_534);
  });

  test.each([
    [Buffer.alloc(0), 'nothing'],
    [Buffer.from('pass'), 'no NUL'],
    [Buffer.from('pa\0ss\0'), 'a NUL inside'],
    [Buffer.from('pass\0\0'), 'two NULs'],
    [Buffer.from('pass\0x'), 'a tail'],
    [Buffer.concat([Buffer.alloc(65_535, 1), Buffer.alloc(1)]), 'too long'],
  ])('refused (%#)', (body) => {
    expect(parsePasswordMessage(body)).toBeNull();
  });
});

function initialResponse(mechanism: string, length: number, data: string): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(length);
  return Buffer.concat([Buffer.from(`${mechanism}\0`), head, Buffer.from(data)]);
}

describe('parseSaslInitialResponse', () => {
  test('a mechanism and its data, in memory of its own', () => {
    const body = initialResponse('SCRAM-SHA-256', 3, 'n,,');
    const parsed = parseSaslInitialResponse(body);
    body.fill(0xdb);
    expect(parsed).toEqual({ mechanism: 'SCRAM-SHA-256', data: Buffer.from('n,,') });
    expect(parseSaslInitialResponse(initialResponse('X', 0, ''))).toEqual({ mechanism: 'X', data: Buffer.alloc(0) });
  });

  test('length −1 is no data', () => {
    expect(parseSaslInitialResponse(initialResponse('X', 0xffff_ffff, ''))).toEqual({ mechanism: 'X', data: null });
  });

  test.each([1, 2, 4, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_fff0])(
    'length %d for 3 bytes is refused',
    (length) => {
      expect(parseSaslInitialResponse(initialResponse('X', length, 'n,,'))).toBeNull();
    },
  );

  test.each([
    [Buffer.alloc(0), 'nothing'],
    [Buffer.from('SCRAM-SHA-256'), 'no NUL'],
    [Buffer.from('X\0'), 'no length'],
    [Buffer.from('X\0\0\0\0'), 'a truncated length'],
    [initialResponse('X', 0xffff_ffff, 'n,,'), 'no data, and yet some'],
    [initialResponse('X', 70_000, 'a'.repeat(70_000)), 'too long'],
  ])('refused (%#)', (body) => {
    expect(parseSaslInitialResponse(body)).toBeNull();
  });

  test('any bytes are read without an exception, and data is never more than was there', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const body = Buffer.from(bytes);
        expect(parsePasswordMessage(body)?.length ?? 0).toBeLessThanOrEqual(body.length);
        expect(parseSaslInitialResponse(body)?.data?.length ?? 0).toBeLessThanOrEqual(body.length);
      }),
    );
  });
});
