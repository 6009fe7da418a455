/** psycopg 3: statements that it prepares by itself, its pipeline mode, and named cursors. */
import { describe } from 'vitest';
import { psycopg } from '../../support/driver-programs.ts';
import { itWith } from '../../support/system-clients.ts';
import { type Case, cases, patient, play } from './play.ts';

const itRuns = itWith('psycopg');

describe('psycopg 3', patient, () => {
  for (const name of Object.keys(cases) as Case[]) itRuns(cases[name], () => play(psycopg, name));
});
