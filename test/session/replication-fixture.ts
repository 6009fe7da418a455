/** Replication clients on a bench: asking, let in, or with a stream that has begun. */
import { expect } from 'vitest';
import type { ScriptedSession } from '../support/scripted-session.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s } from '../support/wire.ts';

export const STREAM = m.query('START_REPLICATION 0/0');

interface Asking {
  readonly user?: string;
  readonly database?: string;
  readonly capacity?: number;
  readonly parameters?: Readonly<Record<string, string>>;
}

export function scene(settings: BenchSettings = {}, setup: BenchSetup = {}): SessionBench {
  const bench = sessionBench({ query_wait_notify: 0, ...settings }, setup);
  bench.expectServers('unneeded');
  return bench;
}

/** A client that has asked for replication, and what it was told is still to be taken. */
export function ask(bench: SessionBench, { user = 'app', database = 'app', capacity, parameters = {} }: Asking = {}) {
  const client = bench.connect(capacity === undefined ? {} : { capacity });
  client.sendStartup({ user, database, parameters: { replication: 'true', ...parameters } });
  bench.run();
  return client;
}

/** One that is in. */
export function replica(
  bench: SessionBench,
  asking: Asking = {},
): { client: SessionClient; postgres: ScriptedSession } {
  const client = ask(bench, asking);
  client.acceptLogin(client.take());
  return { client, postgres: bench.postgres.sessions.at(-1)! };
}

/** One whose stream has begun; the test speaks for the server. */
export function streaming(bench: SessionBench, asking: Asking = {}) {
  const { client, postgres } = replica(bench, asking);
  postgres.takeOver();
  client.exchange(STREAM);
  postgres.expect('Q', 'START_REPLICATION');
  postgres.send(s.copyBoth());
  bench.run();
  expect(client.takeSummary()).toBe('W');
  return { client, postgres };
}

export function closes(bench: SessionBench): Record<string, number> {
  return Object.fromEntries(bench.pool().closedServers);
}
