/** ErrorResponse as servers send it, whole, odd and broken. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fatalReport, isFatal, parseErrorFields } from '../../../src/protocol/error-fields.ts';

const parse = (text: string | Buffer) => {
  const body = Buffer.from(text);
  // Bytes around it must not matter.
  const padded = Buffer.concat([Buffer.from('\0Cxxxxx\0'), body, Buffer.from('C99999\0Mforeign\0\0')]);
  return parseErrorFields(padded, 8, 8 + body.length);
};

describe('fields', () => {
  test('of a real error', () => {
    expect(parse('SFEHLER\0VERROR\0C42P01\0Mno table\0Ddetail\0Hhint\0P15\0Fparse.c\0Rparse_it\0\0')).toEqual({
      severity: 'ERROR',
      sqlstate: '42P01',
      message: 'no table',
      detail: 'detail',
      hint: 'hint',
      routine: 'parse_it',
    });
  });

  test('the untranslated severity wins, and S counts where there is no V', () => {
    expect(isFatal(parse('SSCHWERWIEGEND\0VFATAL\0C57P01\0Mx\0\0'))).toBe(true);
    expect(isFatal(parse('SFATAL\0C57P01\0Mx\0\0'))).toBe(true);
    expect(isFatal(parse('SPANIC\0VPANIC\0\0'))).toBe(true);
    expect(isFatal(parse('SFATAL\0VERROR\0\0'))).toBe(false);
    expect(isFatal(parse('SERROR\0VERROR\0MFATAL\0\0'))).toBe(false);
  });

  test('that are missing have neutral values', () => {
    expect(parse('')).toEqual({
      severity: 'ERROR',
      sqlstate: 'XX000',
      message: 'no message',
      detail: null,
      hint: null,
      routine: null,
    });
    expect(parse('\0').sqlstate).toBe('XX000');
  });

  test.each(['C\0', 'C1\0', 'C1234567\0', 'Cabcde\0', 'C42 01\0', 'C42\n01\0'])('%j is no SQLSTATE', (code) => {
    expect(parse(code).sqlstate).toBe('XX000');
  });

  test('of one given twice the first counts', () => {
    expect(parse('Mfirst\0Msecond\0\0').message).toBe('first');
  });

  test('that are cut off end with the message', () => {
    expect(parse('C42P01\0Mcut').message).toBe('cut');
    expect(parse('C42P01\0M').message).toBe('');
  });

  test('behind the terminator are not read', () => {
    expect(parse('\0C42P01\0Mx\0').sqlstate).toBe('XX000');
  });
});

test('a fatal report keeps what the server said', () => {
  expect(fatalReport(parse('VERROR\0C28P01\0Mno\0Ddetail\0\0'))).toEqual({
    severity: 'FATAL',
    sqlstate: '28P01',
    message: 'no',
    detail: 'detail',
  });
});

test('arbitrary bytes never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), fc.nat(300), (bytes, a, b) => {
      const buffer = Buffer.from(bytes);
      const [from = 0, to = 0] = [Math.min(a, buffer.length), Math.min(b, buffer.length)].sort((x, y) => x - y);
      const fields = parseErrorFields(buffer, from, to);
      expect(fields.sqlstate).toMatch(/^[0-9A-Z]{5}$/);
    }),
    { numRuns: 2000, seed: 1 },
  );
});
