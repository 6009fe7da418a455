/**
 * Replication clients among others, in small pools under several limits, by chance from a seed: no limit is exceeded at any
 * step, nobody who could be served waits for ever, and nothing is left in the end.
 */
import { describe, expect, test } from 'vitest';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m } from '../support/wire.ts';

const ROUNDS = 80;
const databases = { app: 'host=10.0.0.1,10.0.0.2', other: 'host=10.0.0.1,10.0.0.2' };

const worlds: Readonly<Record<string, BenchSettings>> = {
  'a pool of one': { pool_size: 1 },
  'a pool of three, with a reserve': { pool_size: 3, reserve_pool_size: 1, reserve_pool_timeout: 1, min_pool_size: 1 },
  'two connections to PostgreSQL': { pool_size: 2, max_server_connections: 2, server_login_concurrency: 1 },
  'session mode': { pool_size: 2, max_user_connections: 3, pool_mode: 'session' },
};

interface Guest {
  readonly client: SessionClient;
  readonly isReplica: boolean;
  isOver: boolean;
}

function arrive(bench: SessionBench, random: SeededRandom): Guest {
  const client = bench.connect();
  const isReplica = random.below(2) === 0;
  const database = random.pick(['app', 'other']);
  client.sendStartup({ database, parameters: isReplica ? { replication: random.pick(['on', 'database']) } : {} });
  return { client, isReplica, isOver: false };
}

function act({ client, isReplica }: Guest, random: SeededRandom): void {
  const ours = ['SELECT x', 'SLEEP', 'ERROR'];
  client.send(m.query(random.pick(isReplica ? ours : [...ours, 'BEGIN', 'COMMIT'])));
}

function leave(guest: Guest, random: SeededRandom): void {
  guest.isOver = true;
  const { client } = guest;
  const how = random.below(4);
  if (how === 0) client.terminate();
  else if (how === 1) client.leave();
  else if (how === 2) client.vanish();
  else client.crash();
}

function stir(bench: SessionBench, random: SeededRandom): void {
  for (const server of bench.servers) {
    server.accepting = random.pick(['accept', 'accept', 'accept', 'refuse', 'later']);
    server.onStartup = (session) => {
      if (session.startup.has('replication') && random.below(3) === 0) session.refuseLogin('53300');
      else session.login();
    };
    if (random.below(2) === 0) server.acceptPending();
    for (const session of server.live) {
      if (session.model?.isSleeping === true && random.below(3) === 0) session.finish();
      if (random.below(40) === 0) session.die(random.pick(['exit', 'reset']));
    }
  }
}

/** Nobody disturbs any more, and whoever is in goes: all others must come in. */
function comeToRest(bench: SessionBench, guests: readonly Guest[]): void {
  for (let i = 0; i < 100; i++) {
    for (const server of bench.servers) {
      server.accepting = 'accept';
      server.onStartup = null;
      server.acceptPending();
      for (const session of server.live) if (session.model?.isSleeping === true) session.finish();
    }
    bench.advance(500);
    for (const guest of guests) {
      if (guest.client.isEnded) guest.isOver = true;
      if (guest.isOver || !guest.client.takeSummary().includes('Z(')) continue;
      guest.isOver = true;
      guest.client.leave();
    }
  }
}

describe.each(Object.entries(worlds))('%s', (_name, settings) => {
  test.each(Array.from({ length: 6 }, (_, seed) => seed))('seed %i', (seed) => {
    const bench = sessionBench(
      { query_wait_timeout: 0, query_wait_notify: 0, client_login_timeout: 0, server_login_retry: 1, ...settings },
      { databases, seed, shuffled: true, ownMemory: seed % 3 === 0 },
    );
    bench.postgresAt('10.0.0.2');
    bench.expectClients('eof', 'connection_error', 'server_lost', 'server_unavailable');
    bench.expectServers('unneeded', 'evicted', 'eof', 'fatal_error', 'connect_failed', 'login_failed', 'abandoned');
    const { random } = bench.environment;
    const guests: Guest[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const present = guests.filter(({ isOver, client }) => !isOver && !client.isEnded);
      if (present.length < 6) guests.push(arrive(bench, random));
      for (const guest of present) {
        const what = random.below(12);
        if (what === 0) leave(guest, random);
        else if (what < 5) act(guest, random);
      }
      stir(bench, random);
      bench.advance(random.below(3) === 0 ? random.below(1500) : 0);
    }
    for (const { client } of guests) client.take();
    for (const guest of guests) if (!guest.isOver) act(guest, random);
    comeToRest(bench, guests);
    expect(guests.filter(({ isOver }) => !isOver)).toEqual([]);
  });
});
