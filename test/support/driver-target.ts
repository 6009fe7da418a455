/**
 * What the tests of drivers connect to: one pooler in transaction mode with fewer servers than clients. To tell a
 * mistake of a client's program from one of the pooler, TSBOUNCER_TEST_TARGET names another target for the same tests:
 * `session`, a pooler in session mode, or `direct`, PostgreSQL itself.
 */
import { type PoolerFixture, pooler } from './pooler-fixture.ts';
import type { PostgresCluster } from './postgres-cluster.ts';

/** Fewer than any test has clients. */
const SERVERS = 2;
const MODE = process.env['TSBOUNCER_TEST_TARGET'] ?? 'transaction';

export interface DriverTarget {
  readonly host: string;
  readonly port: number;
  /** Has a table `items (owner text, n int)` that everyone may write. */
  readonly database: string;
  /** As user dave, who needs no password. */
  readonly url: string;
  /** How many serve all clients together; 1 if each client has one of its own. */
  readonly servers: number;
}

export async function driverTarget(cluster: PostgresCluster): Promise<DriverTarget> {
  const database = await cluster.createDatabase();
  await cluster.query('create table items (owner text, n int); grant all on items to public', [], database);
  if (MODE === 'direct') {
    return { host: cluster.host, port: cluster.port, database, url: cluster.url(database, 'dave'), servers: 1 };
  }
  const isShared = MODE === 'transaction';
  const pool: PoolerFixture = await pooler({
    cluster,
    databaseName: database,
    pool_mode: MODE,
    pool_size: isShared ? SERVERS : 0,
    // A client that asks alone is moved as well.
    server_round_robin: true,
  });
  return { host: pool.host, port: pool.port, database, url: pool.url, servers: isShared ? SERVERS : 1 };
}
