/**
 * Many clients on few servers, each of whose questions holds a token that nobody can guess: every answer must hold the
 * asker's own and no other's, whatever happens to clients and servers meanwhile.
 */
import { expect, it } from 'vitest';
import { pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { Asker, type Tally } from './asker.ts';
import { chance, terminator } from './chaos.ts';
import { LostConnection } from './lost-connection.ts';

const CLIENTS = 24;
const SERVERS = 3;
const ROUNDS = 250;

it.each([
  ['direct I/O, transaction mode', true, 'transaction', 20_261_122],
  ['stream I/O, transaction mode', false, 'transaction', 20_261_123],
  ['direct I/O, session mode', true, 'session', 20_261_124],
])(
  'answers everybody with what is theirs (%s)',
  async (_title, directIo, mode, seed) => {
    const pool = await pooler({
      cluster: sharedCluster(18),
      pool_mode: mode,
      pool_size: SERVERS,
      directIo,
      server_login_retry: 0.1,
      expectedCloses: ['abandoned', 'fatal_error', 'eof', 'dirty_while_idle', 'reset_failed'],
    });
    const tally: Tally = { asked: 0, answered: 0, lost: 0, canceled: 0, pids: new Set() };
    const random = chance(seed);
    const killer = terminator(pool, chance(seed + 1));
    const rounds = mode === 'session' ? 45 : ROUNDS;
    const ask = async (asker: Asker): Promise<void> => {
      for (let i = 0; i < rounds; i++) {
        try {
          await asker.ask();
        } catch (error) {
          if (!(error instanceof LostConnection)) throw error;
          tally.lost++;
        }
        // In session mode a client keeps its server, and the others want one, too.
        if (mode === 'session' && i % 5 === 4) await asker.leave();
      }
      await asker.leave();
    };
    await Promise.all(Array.from({ length: CLIENTS }, () => ask(new Asker(pool, random, tally))));
    const terminated = await killer.stop();

    expect(tally.answered).toBeGreaterThan(mode === 'session' ? 1000 : 10_000);
    expect(tally.pids.size).toBeGreaterThan(SERVERS);
    expect(terminated).toBeGreaterThan(5);
    expect(tally.lost).toBeGreaterThan(0);
    expect(tally.canceled).toBeGreaterThan(0);
  },
  60_000,
);
