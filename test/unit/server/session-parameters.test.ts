/** The parameters that follow a client, and the literals in which they travel. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  quoteLiteral,
  SessionParameters,
  TRACKED_PARAMETERS,
  trackedIndex,
} from '../../../src/server/session-parameters.ts';
import { statementsOf } from '../../support/model-sql.ts';

function parameters(values: Readonly<Record<string, string>>): SessionParameters {
  const result = new SessionParameters();
  for (const [name, value] of Object.entries(values)) result.set(trackedIndex(name), value);
  return result;
}

describe('names', () => {
  test('are compared without case, as PostgreSQL does', () => {
    for (const name of TRACKED_PARAMETERS) {
      expect(TRACKED_PARAMETERS[trackedIndex(name)]).toBe(name);
      expect(trackedIndex(name.toUpperCase())).toBe(trackedIndex(name));
      expect(trackedIndex(name.toLowerCase())).toBe(trackedIndex(name));
    }
    expect(trackedIndex('search_path')).toBe(-1);
    expect(trackedIndex('__proto__')).toBe(-1);
    expect(trackedIndex('')).toBe(-1);
  });
});

describe('a comparison', () => {
  const server = parameters({ client_encoding: 'UTF8', TimeZone: 'UTC', application_name: '' });

  test('asks only for what the client has', () => {
    expect(new SessionParameters().matches(server)).toBe(true);
    expect(parameters({ TimeZone: 'UTC' }).matches(server)).toBe(true);
    expect(parameters({ TimeZone: 'utc' }).matches(server)).toBe(false);
    // What the server has not reported is not known to be right.
    expect(parameters({ DateStyle: 'ISO' }).matches(server)).toBe(false);
  });

  test('names what differs, and the SET is for that only', () => {
    const client = parameters({ client_encoding: 'LATIN1', TimeZone: 'UTC', application_name: "it's" });
    const places = client.differences(server);
    expect(places.map((place) => TRACKED_PARAMETERS[place])).toEqual(['client_encoding', 'application_name']);
    expect(client.setStatements(places)).toBe("SET client_encoding = 'LATIN1';SET application_name = E'it''s'");
    expect(client.matches(server)).toBe(false);
  });

  test('matches and differences agree', () => {
    const values = fc.dictionary(fc.constantFrom(...TRACKED_PARAMETERS), fc.constantFrom('a', 'b'));
    fc.assert(
      fc.property(values, values, (mine, theirs) => {
        const [client, other] = [parameters(mine), parameters(theirs)];
        expect(client.matches(other)).toBe(client.differences(other).length === 0);
      }),
      { seed: 1 },
    );
  });

  test('a copy is a copy', () => {
    const original = parameters({ TimeZone: 'UTC' });
    const copy = new SessionParameters(original);
    copy.set(trackedIndex('TimeZone'), 'Asia/Tokyo');
    expect(original.get(trackedIndex('TimeZone'))).toBe('UTC');
  });
});

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
