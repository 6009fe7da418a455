/** DBD::Pg, which prepares on the server and says DEALLOCATE in SQL. */
import { describe } from 'vitest';
import { dbdPg } from '../../support/driver-programs.ts';
import { itWith } from '../../support/system-clients.ts';
import { cases, patient, play } from './play.ts';

const itRuns = itWith('DBD::Pg');

describe('DBD::Pg', patient, () => {
  // It has no pipelines.
  for (const name of ['many', 'error', 'transaction', 'deallocate', 'cursor'] as const) {
    itRuns(cases[name], () => play(dbdPg, name));
  }

  itRuns('asks without waiting', () => play(dbdPg, 'async'));
});
