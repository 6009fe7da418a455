/**
 * Clients, servers and the order of events by chance, from a seed: nobody ever hears of somebody else's tokens, what was
 * acknowledged is there once, what was not finished is not, no limit is exceeded, and nothing is left in the end.
 */
import { describe, expect, test } from 'vitest';
import type { SeededRandom } from '../support/seeded-random.ts';
import { type BenchSettings, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { server as s } from '../support/wire.ts';
import { Actor } from './actor.ts';

const ROUNDS = 120;
const ACTORS = 6;

interface World {
  readonly settings: BenchSettings;
  /** Servers may die, speak, and be slow. */
  readonly trouble: boolean;
}

const worlds: Readonly<Record<string, World>> = {
  'one server': { settings: { pool_size: 1 }, trouble: false },
  'three servers': { settings: { pool_size: 3 }, trouble: false },
  'session mode': { settings: { pool_size: 2, pool_mode: 'session' }, trouble: false },
  'servers in trouble': { settings: { pool_size: 2, server_login_retry: 1 }, trouble: true },
  'session mode in trouble': { settings: { pool_size: 2, pool_mode: 'session', server_login_retry: 1 }, trouble: true },
  'servers that are checked and grow old': {
    settings: {
      pool_size: 1,
      min_pool_size: 1,
      reserve_pool_size: 1,
      reserve_pool_timeout: 1,
      server_lifetime: 3,
      server_check_delay: 0,
      server_login_retry: 1,
    },
    trouble: true,
  },
  'short timeouts': {
    settings: {
      pool_size: 2,
      query_timeout: 1,
      idle_transaction_timeout: 1,
      client_write_timeout: 1,
      server_recovery_timeout: 1,
      server_close_timeout: 1,
      cancel_wait_timeout: 1,
      server_login_retry: 1,
    },
    trouble: true,
  },
};

const CLIENT_ENDS = [
  'eof',
  'connection_error',
  'server_lost',
  'server_unavailable',
  'abandoned_query_timeout',
  'query_timeout',
  'idle_transaction_timeout',
  'write_timeout',
] as const;
const SERVER_ENDS = [
  'abandoned',
  'eof',
  'fatal_error',
  'recovery_timeout',
  'cancel_uncertain',
  'connect_failed',
  'lifetime',
  'check_failed',
  'not_answering',
  'query_timeout',
  'idle_transaction_timeout',
  'reset_failed',
] as const;

function play(seed: number, { settings, trouble }: World): void {
  const bench = sessionBench(
    { query_wait_timeout: 0, query_wait_notify: 0, abandoned_query_timeout: 5, ...settings },
    { seed, shuffled: true, ownMemory: seed % 3 === 0, manual: true },
  );
  bench.expectClients(...CLIENT_ENDS);
  bench.expectServers(...SERVER_ENDS);
  const { random } = bench.environment;
  const everybody: Actor[] = [];
  let actors: Actor[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    actors = actors.filter(({ isOver }) => !isOver);
    while (actors.length < ACTORS) {
      const actor = new Actor(bench, `c${everybody.length}`);
      everybody.push(actor);
      actors.push(actor);
    }
    for (const actor of actors) if (random.below(2) === 0) actor.act();
    stir(bench, random, trouble);
    bench.advance(random.below(3) === 0 ? random.below(400) : 0);
    for (const actor of actors) actor.listen();
  }
  comeToRest(bench, actors);
  judge(bench, everybody);
  bench.finish();
}

/** What happens at the server's side. */
function stir(bench: SessionBench, random: SeededRandom, trouble: boolean): void {
  for (const session of bench.postgres.live) {
    if (session.model?.isSleeping === true && random.below(3) === 0) session.finish();
    if (random.below(6) === 0) session.holdReplies();
    else session.releaseReplies();
    if (!trouble) continue;
    const fate = random.below(60);
    if (fate === 0) session.die(random.pick(['exit', 'reset']));
    else if (fate === 1) session.die('exit', s.error({ severity: 'FATAL', code: '57P01', message: 'bye' }));
    else if (fate < 5) session.send(s.notice({ message: 'psst' }));
  }
  for (const cancel of bench.postgres.cancels) {
    if (!cancel.isOpen || random.below(2) === 0) continue;
    cancel.deliver();
    cancel.close();
  }
  bench.postgres.cancelling = random.below(2) === 0 ? 'at-once' : 'held';
  bench.postgres.accepting = trouble && random.below(10) === 0 ? 'refuse' : 'accept';
}

/** Everything that was asked for is answered, if nobody disturbs any more. */
function comeToRest(bench: SessionBench, actors: readonly Actor[]): void {
  bench.postgres.accepting = 'accept';
  bench.postgres.cancelling = 'at-once';
  for (let i = 0; i < 60; i++) {
    for (const actor of actors) if (!actor.isOver) actor.client.stream.resume();
    for (const session of bench.postgres.live) {
      session.releaseReplies();
      if (session.model?.isSleeping === true) session.finish();
    }
    for (const cancel of bench.postgres.cancels) if (cancel.isOpen) cancel.close();
    bench.advance(1000);
    for (const actor of actors) actor.listen();
    if (bench.config.settings.poolMode === 'session') {
      for (const actor of actors) if (!actor.isBusy && !actor.isOver) actor.client.leave();
    }
  }
  for (const actor of actors) if (!actor.isOver && actor.isBusy) throw new Error(`${actor.name} still waits`);
}

function judge(bench: SessionBench, actors: readonly Actor[]): void {
  const rows = new Map<string, number>();
  for (const row of bench.postgres.rows) rows.set(row, (rows.get(row) ?? 0) + 1);
  for (const [row, count] of rows) expect(count, row).toBe(1);
  for (const actor of actors) {
    for (const token of actor.acknowledged) expect(rows.has(token), `${token} was acknowledged`).toBe(true);
    for (const token of actor.lost) expect(rows.has(token), `${token} was never finished`).toBe(false);
  }
}

describe.each(Object.entries(worlds))('%s', (_name, world) => {
  test.each(Array.from({ length: 15 }, (_, seed) => seed))('seed %i', (seed) => {
    play(seed, world);
  });
});
