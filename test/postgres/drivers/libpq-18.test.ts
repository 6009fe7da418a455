/** libpq of PostgreSQL 18, the embedded package's, below programs of the system that were built for an older one. */
import { describe, expect } from 'vitest';
import { type DriverProgram, libpq18, psycopg } from '../../support/driver-programs.ts';
import { driverTarget } from '../../support/driver-target.ts';
import { sharedCluster } from '../../support/shared-cluster.ts';
import { itWith, SystemProcess } from '../../support/system-clients.ts';
import { cases, patient, play } from './play.ts';

const itRuns = itWith('psycopg');
const itBenches = itWith('pgbench');
const itQueries = itWith('psql');

/** The program ends with an error if another libpq is loaded. */
function psycopgOn18(environment: Record<string, string> = {}): DriverProgram {
  return { ...psycopg, environment: { ...libpq18(), EXPECTED_LIBPQ: '18', ...environment } };
}

describe('libpq 18', patient, () => {
  for (const name of ['pipeline', 'deallocate'] as const) itRuns(cases[name], () => play(psycopgOn18(), name));

  /** A server that knows only 3.0 is refused by the client. */
  itRuns('speaks protocol 3.2', () =>
    play(psycopgOn18({ PGMINPROTOCOLVERSION: '3.2', PGMAXPROTOCOLVERSION: '3.2' }), 'many'),
  );

  itQueries('serves psql, which says PREPARE and EXECUTE within a transaction', async () => {
    const target = await driverTarget(sharedCluster(18));
    const psql = new SystemProcess('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', target.url], libpq18());
    psql.write(`begin;
      prepare p (int) as select 'answer ' || $1;
      execute p (1);
      savepoint s;
      execute p (2);
      rollback to s;
      execute p (3);
      deallocate p;
      commit;
    `);
    const { stdout, code } = await psql.end();
    expect({ stdout, code }).toEqual({ stdout: 'answer 1\nanswer 2\nanswer 3\n', code: 0 });
  });

  itBenches('serves pgbench -M prepared', async () => {
    const target = await driverTarget(sharedCluster(18));
    const where = ['-h', target.host, '-p', String(target.port), '-U', 'dave', target.database];
    const script = ['-f', '-', '-M', 'prepared', '-n', '-c', '16', '-j', '2', '-t', '50'];
    const pgbench = new SystemProcess('pgbench', [...script, ...where], libpq18());
    pgbench.write(
      "insert into items values ('pgbench', :client_id);\nselect count(*) from items where n = :client_id;\n",
    );
    const { stdout, stderr, code } = await pgbench.end();
    expect({ stderr: stderr.replaceAll(/^pgbench \(.*\)\n/gm, ''), code }).toEqual({ stderr: '', code: 0 });
    expect(stdout).toContain('number of transactions actually processed: 800/800');
  });
});
