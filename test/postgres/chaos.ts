/** What the tests under fire share: chance that can be repeated, and what ends servers. */
import { Client } from 'pg';
import type { PoolerFixture } from '../support/pooler-fixture.ts';

/** Mulberry32: the same numbers for the same seed. */
export function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Terminates a session of the pooler's at chance, again and again, until it is stopped. Returns how many. */
export function terminator(pool: PoolerFixture, random: () => number): { stop(): Promise<number> } {
  const stopping = new AbortController();
  let terminated = 0;
  const work = async (): Promise<void> => {
    const client = new Client({ connectionString: pool.cluster.url('postgres') });
    await client.connect();
    while (!stopping.signal.aborted) {
      const { rows } = await client.query<{ pid: number }>(
        "select pid from pg_stat_activity where datname = $1 and backend_type = 'client backend'",
        [pool.database],
      );
      const victim = rows[Math.floor(random() * rows.length)];
      if (victim !== undefined) {
        await client.query('select pg_terminate_backend($1)', [victim.pid]);
        terminated++;
      }
      await client.query('select pg_sleep($1)', [0.02 + random() * 0.05]);
    }
    await client.end();
  };
  const done = work();
  return {
    stop: async () => {
      stopping.abort();
      await done;
      return terminated;
    },
  };
}
