/** The cases that the drivers' programs play, and what is expected of every one of them. */
import { expect } from 'vitest';
import { type DriverProgram, runDrivers } from '../../support/driver-programs.ts';
import { type DriverTarget, driverTarget } from '../../support/driver-target.ts';
import { sharedCluster } from '../../support/shared-cluster.ts';

const CLIENTS = 4;

/** Four interpreters or virtual machines at once take a busy machine a while. */
export const patient = { timeout: 60_000 };

export const cases = {
  many: 'prepares once and runs many times',
  error: 'prepares and runs after errors',
  transaction: 'uses a statement in transactions and after ROLLBACK',
  pipeline: 'recovers from a statement that fails in a pipeline',
  deallocate: 'gives statements up and prepares again',
  cursor: 'reads through cursors within transactions',
} as const;

export type Case = keyof typeof cases;

/** All at once, each answer the right one, and the servers shared. */
export async function play(program: DriverProgram, name: string): Promise<void> {
  const target = await driverTarget(sharedCluster(18));
  const reports = await runDrivers(program, name, target, CLIENTS);
  for (const { answers } of reports) expect(answers).toBeGreaterThan(20);
  expectSharing(
    target,
    reports.map(({ pids }) => new Set(pids)),
  );
}

/**
 * Of each client the backends that have answered it. If they are shared, all have served, and a client has met them all:
 * not every one, for who asks in step with the others can meet the same one each time.
 */
export function expectSharing(target: DriverTarget, pids: readonly ReadonlySet<number>[]): void {
  if (target.servers === 1) return;
  expect(new Set(pids.flatMap((met) => [...met])).size).toBe(target.servers);
  expect(Math.max(...pids.map((met) => met.size))).toBe(target.servers);
}
