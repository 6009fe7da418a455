/** PHP's PDO, which prepares each statement under a name and says DEALLOCATE in SQL. */
import { describe } from 'vitest';
import { pdo } from '../../support/driver-programs.ts';
import { itWith } from '../../support/system-clients.ts';
import { cases, patient, play } from './play.ts';

const itRuns = itWith('PDO');

describe('PDO', patient, () => {
  // It has no pipelines.
  for (const name of ['many', 'error', 'transaction', 'deallocate', 'cursor'] as const) {
    itRuns(cases[name], () => play(pdo, name));
  }
});
