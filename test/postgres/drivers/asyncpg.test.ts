/** asyncpg: its cache of statements, executemany, cursors, and the pool that resets what it gets back. */
import { describe } from 'vitest';
import { asyncpg } from '../../support/driver-programs.ts';
import { itWith } from '../../support/system-clients.ts';
import { type Case, cases, patient, play } from './play.ts';

const itRuns = itWith('asyncpg');

describe('asyncpg', patient, () => {
  for (const name of Object.keys(cases) as Case[]) itRuns(cases[name], () => play(asyncpg, name));

  itRuns('keeps its statements over the reset query of its pool', () => play(asyncpg, 'pool'));
});
