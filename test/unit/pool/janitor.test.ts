/** The one timer: a round a few times a second, none after a sleep, none after stop. */
import { describe, expect, test } from 'vitest';
import { Janitor } from '../../../src/pool/janitor.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';

function setUp() {
  const environment = new VirtualEnvironment();
  const rounds: number[] = [];
  const janitor = new Janitor(environment, { onRound: (nowMs) => rounds.push(nowMs) });
  janitor.start();
  return { environment, rounds, janitor };
}

describe('the janitor', () => {
  test('goes round a few times a second, with the time of the round', () => {
    const { environment, rounds, janitor } = setUp();
    const startMs = environment.now();
    environment.advance(1000);
    expect(rounds).toEqual([200, 400, 600, 800, 1000].map((ms) => startMs + ms));
    janitor.stop();
    environment.advance(1000);
    expect(rounds).toHaveLength(5);
    expect(environment.timers).toEqual([]);
  });

  test('skips the round after a sleep: what came meanwhile is read first', () => {
    const { environment, rounds, janitor } = setUp();
    environment.advance(200);
    environment.sleepThrough(60_000);
    environment.advance(0);
    expect(rounds).toHaveLength(1);
    environment.advance(200);
    expect(rounds).toHaveLength(2);
    janitor.stop();
  });

  test('a round that is only late is no sleep', () => {
    const { environment, rounds, janitor } = setUp();
    environment.sleepThrough(1500);
    environment.advance(0);
    expect(rounds).toHaveLength(1);
    janitor.stop();
  });
});
