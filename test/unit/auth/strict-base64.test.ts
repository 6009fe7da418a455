import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeBase64 } from '../../../src/auth/strict-base64.ts';

test('what was encoded is decoded', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(decodeBase64(Buffer.from(bytes).toString('base64'))).toEqual(Buffer.from(bytes));
    }),
  );
});

test.each([
  ['QQ', 'no padding'],
  ['QQ=', 'too little padding'],
  ['QQ===', 'too much padding'],
  ['QR==', 'stray bits'],
  ['QQ==\n', 'a line break'],
  [' QQ==', 'a space'],
  ['QUFB\nQUFB', 'a line break inside'],
  ['-_-_', 'the URL alphabet'],
  ['QQ==QQ==', 'two of them'],
  ['QQ==A', 'a tail'],
  ['Q*==', 'an alien character'],
  ['=', 'padding of nothing'],
  ['Q\u0100==', 'a character above a byte'],
])('%j is refused: %s', (text) => {
  expect(decodeBase64(text)).toBeNull();
});
