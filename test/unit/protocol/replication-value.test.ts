/** As PostgreSQL 15 and 18 answer a startup packet with each value (`test/postgres/replication.test.ts` asks them). */
import { expect, test } from 'vitest';
import { asksForReplication } from '../../../src/protocol/replication-value.ts';

test.each([
  [true, ['true', 't', 'TRUE', 'tr', 'on', 'On', 'yes', 'y', 'YE', '1', 'database']],
  [false, [undefined, 'false', 'f', 'FALS', 'off', 'of', 'no', 'N', '0']],
  ['invalid', ['', 'o', 'DATABASE', 'databas', 'truth', ' on', 'on ', '2', '01', 'yess', 'on\n']],
] as const)('%s', (expected, values) => {
  for (const value of values) expect([value, asksForReplication(value)]).toEqual([value, expected]);
});
