/** Literals in which values travel to servers. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { quoteLiteral } from '../../../src/server/quote-literal.ts';
import { statementsOf } from '../../support/model-sql.ts';

describe('a literal', () => {
  test.each([
    ['', "''"],
    ['plain value 1.5', "'plain value 1.5'"],
    ["it's", "E'it''s'"],
    ['back\\slash', "E'back\\\\slash'"],
    ['new\nline', "E'new\\x0aline'"],
    ['ü', "E'\\u00fc'"],
    ['😀', "E'\\U0001f600'"],
  ])('%j is %s', (text, literal) => {
    expect(quoteLiteral(text)).toBe(literal);
  });

  test('is ASCII without control characters, ends where it should, and means what it was made of', () => {
    const nasty = fc.string({
      unit: fc.oneof(
        fc.constantFrom("'", '\\', ';', 'E', '\n', '\0', '$', '-', 'u', 'x', '0', 'ü', '😀'),
        fc.string({ minLength: 1, maxLength: 1 }),
      ),
      maxLength: 30,
    });
    fc.assert(
      fc.property(nasty, (text) => {
        const wellFormed = Buffer.from(text).toString();
        const literal = quoteLiteral(wellFormed);
        expect(literal).toMatch(/^[ -~]*$/);
        const statements = statementsOf(`SET application_name = ${literal};SELECT end`);
        expect(statements.map(({ verb }) => verb)).toEqual(['SET', 'SELECT']);
        expect(statements[0]!.value).toBe(wellFormed);
      }),
      { numRuns: 3000, seed: 2 },
    );
  });
});
