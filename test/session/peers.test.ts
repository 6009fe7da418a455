/** Cancels whose key another pooler of the group has issued: they are passed on to it, or dropped. */
import { describe, expect, test } from 'vitest';
import type { CancelArrival } from '../support/scripted-server.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { client as m, VERSION_3_2 } from '../support/wire.ts';

const PEERS = {
  1: { host: '10.0.1.1' },
  2: { host: '10.0.1.2', port: 6433, pool_size: 2 },
  513: { host: 'third.internal' },
};

/** The pooler 1 of a group, whose others a scripted server stands for. */
function scene(settings: BenchSettings = {}, setup: BenchSetup = {}) {
  const bench = sessionBench({ peer_id: 1, ...settings }, { peers: PEERS, ...setup });
  const peer = bench.postgresAt('10.0.1.2', 6433);
  peer.cancelling = 'held';
  return { bench, peer };
}

/** A key of pooler `id`. */
function keyOf(id: number, hops = 3, last = 0xa0): Buffer {
  return Buffer.of(0x11, id & 0xff, id >> 8, 0, 0x44, 0x55, 0x66, last | hops);
}

function cancel(bench: SessionBench, key: Buffer): SessionClient {
  const canceler = bench.connect();
  canceler.exchange(m.cancel(key));
  return canceler;
}

function arrivedKey({ pid, secret }: CancelArrival): Buffer {
  const key = Buffer.alloc(8);
  key.writeUInt32BE(pid);
  secret.copy(key, 4);
  return key;
}

const shown = (bench: SessionBench): unknown =>
  bench.peers
    .snapshot()
    .map(({ id, activeCancels, waitingCancels, connecting }) => [id, connecting, activeCancels, waitingCancels]);

describe('a cancel of a peer’s client', () => {
  test('is passed on with one hop less, and its connection stays open until the peer has closed', () => {
    const { bench, peer } = scene();
    const canceler = cancel(bench, keyOf(2));
    expect(peer.cancels.map(arrivedKey)).toEqual([keyOf(2, 2)]);
    expect(canceler.isEnded).toBe(false);
    expect(shown(bench)).toEqual([
      [1, 0, 0, 0],
      [2, 0, 1, 0],
      [513, 0, 0, 0],
    ]);
    peer.cancels[0]!.close();
    bench.run();
    expect([canceler.isEnded, canceler.chunks]).toEqual([true, []]);
    expect(shown(bench)).toEqual([
      [1, 0, 0, 0],
      [2, 0, 0, 0],
      [513, 0, 0, 0],
    ]);
  });

  test('finds a peer by both bytes of its number, and at the address of its name that answers', async () => {
    const { bench } = scene();
    bench.environment.names.set('third.internal', ['10.0.1.8', '10.0.1.3']);
    bench.postgresAt('10.0.1.8', 6432).accepting = 'refuse';
    const third = bench.postgresAt('10.0.1.3', 6432);
    const canceler = cancel(bench, keyOf(513, 1));
    await bench.settle();
    expect(third.cancels.map(arrivedKey)).toEqual([keyOf(513, 0)]);
    expect(canceler.isEnded).toBe(true);
  });

  test('to a peer that cannot be reached ends', () => {
    const { bench, peer } = scene();
    peer.accepting = 'refuse';
    expect(cancel(bench, keyOf(2)).isEnded).toBe(true);
    expect(shown(bench)).toEqual([
      [1, 0, 0, 0],
      [2, 0, 0, 0],
      [513, 0, 0, 0],
    ]);
  });

  test('to a peer that does not answer is given up at cancel_wait_timeout', () => {
    const { bench, peer } = scene({ cancel_wait_timeout: 5 });
    peer.accepting = 'hang';
    const cancelers = Array.from({ length: 3 }, (_, i) => cancel(bench, keyOf(2, 3, i << 4)));
    expect(shown(bench)).toContainEqual([2, 2, 0, 1]);
    bench.advance(4000);
    expect(cancelers.some(({ isEnded }) => isEnded)).toBe(false);
    bench.advance(1500);
    expect(cancelers.every(({ isEnded }) => isEnded)).toBe(true);
    expect(shown(bench)).toContainEqual([2, 0, 0, 0]);
  });

  test('waits behind pool_size others; the same key takes one place, and past all bounds one is dropped', () => {
    const { bench, peer } = scene();
    const cancelers = Array.from({ length: 22 }, (_, i) => cancel(bench, keyOf(2, 3, i << 2)));
    expect(shown(bench)).toContainEqual([2, 0, 2, 20]);
    expect(cancelers.some(({ isEnded }) => isEnded)).toBe(false);
    const again = cancel(bench, keyOf(2, 3, 21 << 2));
    const tooMany = cancel(bench, keyOf(2, 3, 22 << 2));
    expect([again.isEnded, tooMany.isEnded]).toEqual([false, true]);
    for (let i = 0; i < 22; i++) {
      peer.cancels[i]!.close();
      bench.run();
    }
    expect(peer.cancels).toHaveLength(22);
    expect([...cancelers, again].every(({ isEnded }) => isEnded)).toBe(true);
  });

  test('goes on over a reload that only changes how many may be under way', () => {
    const { bench, peer } = scene();
    const cancelers = Array.from({ length: 4 }, (_, i) => cancel(bench, keyOf(2, 3, i << 2)));
    bench.reload({}, { peers: { ...PEERS, 2: { ...PEERS[2], pool_size: 3 } } });
    expect(shown(bench)).toContainEqual([2, 0, 3, 1]);
    expect(cancelers.some(({ isEnded }) => isEnded)).toBe(false);
    for (let i = 0; i < 4; i++) {
      peer.cancels[i]!.close();
      bench.run();
    }
    expect(cancelers.every(({ isEnded }) => isEnded)).toBe(true);
  });

  test('goes where the peer is after a reload; what was under way is given up', () => {
    const { bench, peer } = scene();
    const before = cancel(bench, keyOf(2));
    bench.reload({}, { peers: { ...PEERS, 2: { host: '10.0.1.9' } } });
    expect([before.isEnded, peer.cancels.length]).toEqual([true, 1]);
    const moved = bench.postgresAt('10.0.1.9', 6432);
    cancel(bench, keyOf(2));
    expect(moved.cancels.map(arrivedKey)).toEqual([keyOf(2, 2)]);
    bench.reload({}, { peers: {} });
    expect(cancel(bench, keyOf(2)).isEnded).toBe(true);
    expect(moved.cancels).toHaveLength(1);
  });
});

describe('nothing is passed on', () => {
  test.each([
    ['of a key without a hop left', {}, keyOf(2, 0)],
    ['of a key of a pooler that is no peer', {}, keyOf(3)],
    ['of a key of our own that nobody has any more, though the list of peers names us, too', {}, keyOf(1)],
    ['of a key without a pooler', {}, keyOf(0)],
    ['of a key that is longer', {}, Buffer.concat([keyOf(2), Buffer.alloc(24)])],
    ['without a peer_id', { peer_id: 0 }, keyOf(2)],
  ])('%s', (_what, settings, key) => {
    const { bench, peer } = scene(settings);
    const others = [bench.postgresAt('10.0.1.1', 6432), peer];
    expect(cancel(bench, key).isEnded).toBe(true);
    expect(others.flatMap(({ cancels }) => cancels)).toEqual([]);
  });
});

describe('a client of a pooler with peers', () => {
  test.each([
    ['3.0', undefined],
    ['3.2', VERSION_3_2],
  ])('of protocol %s gets a key of 8 bytes with the pooler’s number, and is cancelled by it', (_name, version) => {
    const { bench } = scene({ peer_id: 0x1234 });
    const alice = bench.client(version === undefined ? {} : { version });
    expect(alice.key).toHaveLength(8);
    expect([...alice.key.subarray(1, 4)]).toEqual([0x34, 0x12, 0]);
    alice.query('SLEEP');
    const passed = Buffer.from(alice.key);
    passed[7]! -= 2;
    expect(cancel(bench, passed).isEnded).toBe(true);
    expect(alice.takeSummary()).toBe('E(57014) Z(I)');
  });
});
