/** The JDBC driver: prepareThreshold 0, 1 and 5, batches, and portals that are read by fetchSize. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe } from 'vitest';
import { compileJdbcClient, type DriverProgram } from '../../support/driver-programs.ts';
import { itWith } from '../../support/system-clients.ts';
import { type Case, cases, patient, play } from './play.ts';

const itRuns = itWith('JDBC');

const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-jdbc-'));
afterAll(() => rmSync(folder, { recursive: true }));

let compiled: DriverProgram | null = null;

/** By the first test that needs it: without Java there is none. */
function jdbc(): DriverProgram {
  compiled ??= compileJdbcClient(folder);
  return compiled;
}

describe('JDBC', patient, () => {
  for (const name of Object.keys(cases) as Case[]) itRuns(cases[name], () => play(jdbc(), name));
});
