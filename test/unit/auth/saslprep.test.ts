import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { saslprep } from '../../../src/auth/saslprep.ts';

describe('saslprep', () => {
  // RFC 4013 §3, examples 1 to 5.
  test.each([
    ['I\u00adX', 'IX', 'a soft hyphen is mapped to nothing'],
    ['user', 'user', 'no transformation'],
    ['USER', 'USER', 'case is preserved'],
    ['\u00aa', 'a', 'NFKC'],
    ['\u2168', 'IX', 'NFKC'],
  ])('RFC 4013 §3: %j → %j (%s)', (input, output) => {
    expect(saslprep(input)).toBe(output);
  });

  // Examples 6 and 7 are errors in the RFC; PostgreSQL uses the password as it is. NFKC would change each of these.
  test.each([
    ['\u0007', 'a control character (example 6)'],
    ['\u0627\u0031', 'right-to-left that does not end so (example 7)'],
    ['\u2168\u0007', 'a control character'],
    ['\u2168\u0085', 'a control character that is not ASCII'],
    ['\u2168\ue000', 'private use'],
    ['\u2168\ufdd0', 'not a character'],
    ['\u2168\ud800', 'half a surrogate pair'],
    ['\u2168\ufffd', 'inappropriate for plain text'],
    ['\u2168\u2ff0', 'inappropriate for canonical representation'],
    ['\u2168\u0340', 'deprecated'],
    ['\u2168\u{e0001}', 'a tag'],
    ['\u2168\u{1f600}', 'a character that Unicode 3.2 did not know'],
    ['\u0627\u2168\u0627', 'left-to-right among right-to-left'],
    ['\u2168\u05d0', 'right-to-left that does not begin so'],
    ['\u00b2\u05d0', 'right-to-left that begins with neither'],
    ['\u05d0\u00b2', 'right-to-left that ends with neither'],
    ['\u00ad', 'nothing is left'],
  ])('%j is used as it is: %s', (input) => {
    expect(saslprep(input)).toBe(input);
  });

  test.each([
    ['a\u00a0b', 'a b', 'a no-break space'],
    ['a\u200bb', 'a b', 'U+200B, which is also in the table of what is dropped'],
    ['a\u3000b', 'a b', 'an ideographic space'],
    ['\ufeffx', 'x', 'a byte order mark'],
    ['e\u0301', '\u00e9', 'a decomposed accent'],
    ['\u0627\ufe8e', '\u0627\u0627', 'right-to-left throughout'],
  ])('%j → %j: %s', (input, output) => {
    expect(saslprep(input)).toBe(output);
  });

  test('never throws, and a prepared password stays as it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (password) => {
        const prepared = saslprep(password);
        // Mapped, but not yet normalized text was checked; what NFKC makes of it may be raw the second time.
        expect([prepared, prepared.normalize('NFKC')]).toContain(saslprep(prepared));
      }),
    );
  });

  test('combining characters, whose normalization takes quadratic time, do not stop the process', () => {
    const marks = '\u2168a' + '\u0301\u0316'.repeat(32_000);
    const before = process.cpuUsage();
    expect(saslprep(marks)).toBe(marks);
    expect(saslprep(marks.slice(0, 2048))).not.toBe(marks.slice(0, 2048));
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(500);
  });
});
