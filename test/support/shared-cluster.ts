/** The clusters that the run's global setup has started: to be used by all tests, to be stopped by none. */
import { inject } from 'vitest';
import { PostgresCluster, type PostgresVersion } from './postgres-cluster.ts';

export function sharedCluster(version: PostgresVersion): PostgresCluster {
  return new PostgresCluster(inject('clusters')[version]);
}
