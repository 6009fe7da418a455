/** Starts one PostgreSQL of each version for all test files of the run, and stops them at its end. */
import { rm } from 'node:fs/promises';
import type { TestProject } from 'vitest/node';
import { makeProgramsDirectory, sweepClusterDirectories } from './cluster-directory.ts';
import {
  type ClusterAddress,
  type PostgresCluster,
  type PostgresVersion,
  PROGRAMS_VARIABLE,
  startCluster,
} from './postgres-cluster.ts';

declare module 'vitest' {
  interface ProvidedContext {
    clusters: Record<PostgresVersion, ClusterAddress>;
  }
}

/** Test files run side by side and take what they need: none should see a full server that did not fill it itself. */
const MAX_CONNECTIONS = 300;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await sweepClusterDirectories();
  const programs = await makeProgramsDirectory();
  process.env[PROGRAMS_VARIABLE] = programs; // the workers inherit it
  const clusters = new Map<PostgresVersion, PostgresCluster>();
  const teardown = async (): Promise<void> => {
    await Promise.all([...clusters.values()].map((cluster) => cluster.close()));
    await rm(programs, { recursive: true, force: true });
    await sweepClusterDirectories(); // those of the workers, which have ended
  };
  const start = async (version: PostgresVersion): Promise<ClusterAddress> => {
    const cluster = await startCluster({ version, maxConnections: MAX_CONNECTIONS });
    clusters.set(version, cluster);
    return { version, host: cluster.host, port: cluster.port };
  };
  const starts = [start(15), start(18)] as const;
  try {
    const [on15, on18] = await Promise.all(starts);
    project.provide('clusters', { 15: on15, 18: on18 });
  } catch (error) {
    await Promise.allSettled(starts); // the other one may still be on its way
    await teardown();
    throw error;
  }
  return teardown;
}
