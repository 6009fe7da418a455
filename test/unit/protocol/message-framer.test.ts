/** The framer against a trivial reference: whatever the chunks and the verdicts, the same bytes and the same events. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DROP,
  FETCH,
  FLUSH,
  FORWARD,
  HEADER_BYTES,
  HOLD,
  MessageFramer,
  type MessageHandler,
  MORE,
  SKIP,
  SPLICE,
  STOP,
  type Verdict,
} from '../../../src/protocol/message-framer.ts';
import { expectedOf, frameOf, type Kind, type Sample, SPLICED_BYTES } from './reference-framer.ts';

const MAX = 0x3fff_ffff;
const DATA_ROW = 0x44;

/** Follows a list of samples, message by message; holds now and then if asked to. */
class Follower implements MessageHandler {
  readonly forwarded: Buffer[] = [];
  readonly events: string[] = [];
  readonly framer: MessageFramer;
  malformed: [number, number] | null = null;
  held = 0;
  next = 0;
  readonly #samples: readonly Sample[];
  readonly #holds: readonly boolean[];
  readonly #peekBytes: number;
  /** The message that was fetched and then held. */
  #heldFetch = -1;
  #isHeld = false;

  constructor(samples: readonly Sample[], holds: readonly boolean[], peekBytes = 0, max = MAX) {
    this.#samples = samples;
    this.#holds = [...holds];
    this.#peekBytes = peekBytes;
    this.framer = new MessageFramer(this, max, DATA_ROW);
  }

  onHeader(type: number, bodyLength: number, _buffer: Buffer, bodyAt: number, end: number): Verdict {
    const index = this.next;
    const sample = this.#samples[index];
    if (sample === undefined) throw new Error('a header of a message that was never sent');
    expect([type, bodyLength]).toEqual([sample.type, sample.body.length]);
    if (this.#holds[index] === true && this.held === index) {
      this.held = index + 1;
      return HOLD;
    }
    this.held = Math.max(this.held, index + 1);
    const peeked = sample.kind === 'splice' ? SPLICED_BYTES : this.#peekBytes;
    const wanted = Math.min(peeked, bodyLength);
    if (end - bodyAt < wanted) return MORE;
    this.next = index + 1;
    return verdictOf(sample.kind);
  }

  onRun(buffer: Buffer, from: number, to: number): void {
    expect(to).toBeGreaterThan(from);
    this.forwarded.push(Buffer.from(buffer.subarray(from, to)));
  }

  onFetched(type: number, buffer: Buffer, bodyAt: number, bodyEnd: number): Verdict {
    // A held one is asked for again, by its header if it is still in the chunk.
    if (this.#heldFetch === this.next) this.next++;
    const { kind } = this.#samples[this.next - 1]!;
    if (kind === 'fetch-hold' && this.#heldFetch !== this.next - 1) {
      this.next--;
      this.#heldFetch = this.next;
      return HOLD;
    }
    this.#say(`fetched ${type} ${buffer.toString('hex', bodyAt, bodyEnd)}`);
    return kind === 'fetch-skip' ? SKIP : FORWARD;
  }

  onSpliced(type: number, bodyLength: number, buffer: Buffer, bodyAt: number, end: number): number {
    const replaced = Math.min(SPLICED_BYTES, bodyLength);
    expect(end - bodyAt).toBeGreaterThanOrEqual(replaced);
    this.#say(`spliced ${type} ${buffer.toString('hex', bodyAt, bodyAt + replaced)}`);
    return bodyAt + replaced;
  }

  onFlushed(type: number): void {
    this.#say(`flushed ${type}`);
  }

  onHeld(): void {
    this.#isHeld = true;
  }

  takeHeld(): boolean {
    const isHeld = this.#isHeld;
    this.#isHeld = false;
    return isHeld;
  }

  onDropped(type: number): void {
    this.#say(`dropped ${type}`);
  }

  onMalformed(type: number, length: number): void {
    this.malformed = [type, length];
  }

  get bytes(): number {
    return this.forwarded.reduce((sum, piece) => sum + piece.length, 0);
  }

  #say(what: string): void {
    this.events.push(`${what} after ${this.bytes}`);
  }
}

function verdictOf(kind: Kind): Verdict {
  switch (kind) {
    case 'forward':
      return FORWARD;
    case 'skip':
      return SKIP;
    case 'fetch-forward':
    case 'fetch-hold':
    case 'fetch-skip':
      return FETCH;
    case 'splice':
      return SPLICE;
    case 'flush':
      return FLUSH;
    case 'drop':
      return DROP;
    case 'stop':
      return STOP;
  }
}

/** Feeds `stream` in pieces, giving back what was not consumed as `Wire` does: each time in other memory. */
function feedAll(follower: Follower, stream: Buffer, sizes: readonly number[]): void {
  let kept = Buffer.alloc(0);
  let at = 0;
  for (let i = 0; at < stream.length; i++) {
    const size = Math.min(stream.length - at, sizes[i % sizes.length]!);
    const memory = Buffer.alloc(64 + kept.length + size + 3, 0xee);
    kept.copy(memory, 64);
    stream.copy(memory, 64 + kept.length, at, at + size);
    at += size;
    const end = 64 + kept.length + size;
    let used = follower.framer.feed(memory, 64, end);
    // Held messages are given again until they are not held any more.
    while (follower.takeHeld()) if (follower.framer.retry()) used = follower.framer.feed(memory, used, end);
    expect(used).toBeGreaterThanOrEqual(64);
    expect(used).toBeLessThanOrEqual(end);
    kept = Buffer.from(memory.subarray(used, end));
    memory.fill(0xdb);
  }
}

// DataRow and CopyData are left to a test of their own: the handler is not asked for each of them.
const types = fc.constantFrom(0x51, 0x50, 0x5a, 0x45, 0x31, 0x00, 0xff);
const kinds = fc.constantFrom<Kind>(
  'forward',
  'forward',
  'skip',
  'fetch-forward',
  'fetch-hold',
  'fetch-skip',
  'flush',
  'drop',
  'splice',
);
const samples = fc.array(
  fc.record({ type: types, body: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)), kind: kinds }),
  { maxLength: 25 },
);
const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 });

describe('split invariance', () => {
  test('any chunks, any verdicts, messages held and peeked into', () => {
    fc.assert(
      fc.property(samples, sizes, fc.array(fc.boolean(), { maxLength: 25 }), fc.nat(8), (list, pieces, holds, peek) => {
        const expected = expectedOf(list);
        const stream = Buffer.concat(list.map(frameOf));
        const follower = new Follower(list, holds, peek);
        feedAll(follower, stream, pieces);
        expect(Buffer.concat(follower.forwarded)).toEqual(expected.forwarded);
        expect(follower.events).toEqual(expected.events);
        expect(follower.framer.midMessage).toBe(false);
        expect(follower.malformed).toBeNull();
      }),
      { numRuns: 400, seed: 1 },
    );
  });

  test('a stop ends everything, whatever follows', () => {
    fc.assert(
      fc.property(samples, fc.nat(24), sizes, (list, place, pieces) => {
        const stopped = list.map((sample, i): Sample => (i === place ? { ...sample, kind: 'stop' } : sample));
        const expected = expectedOf(stopped);
        const follower = new Follower(stopped, []);
        feedAll(follower, Buffer.concat(stopped.map(frameOf)), pieces);
        expect(Buffer.concat(follower.forwarded)).toEqual(expected.forwarded);
        expect(follower.events).toEqual(expected.events);
      }),
      { numRuns: 300, seed: 2 },
    );
  });
});

describe('series of rows', () => {
  class Rows implements MessageHandler {
    asked = 0;
    forwarded: Buffer[] = [];
    runs = 0;

    onHeader(): Verdict {
      this.asked++;
      return FORWARD;
    }

    onRun(buffer: Buffer, from: number, to: number): void {
      this.runs++;
      this.forwarded.push(Buffer.from(buffer.subarray(from, to)));
    }

    onFetched(): Verdict {
      return SKIP;
    }

    onSpliced(): number {
      throw new Error('nothing is spliced');
    }

    onFlushed(): void {}
    onHeld(): void {}
    onDropped(): void {}

    onMalformed(): void {
      throw new Error('nothing is malformed');
    }
  }

  test('of one chunk leave as one view, and the handler is asked once', () => {
    const handler = new Rows();
    const stream = Buffer.concat(
      Array.from({ length: 100 }, (_, i) => frameOf({ type: DATA_ROW, body: Buffer.alloc(i) })),
    );
    expect(new MessageFramer(handler, MAX, DATA_ROW).feed(stream, 0, stream.length)).toBe(stream.length);
    expect([handler.asked, handler.runs]).toEqual([1, 1]);
    expect(handler.forwarded[0]).toEqual(stream);
  });

  test('cut anywhere, all bytes come', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(30), { maxLength: 30 }), sizes, (lengths, pieces) => {
        const stream = Buffer.concat(
          lengths.map((length) => frameOf({ type: DATA_ROW, body: Buffer.alloc(length, length) })),
        );
        const handler = new Rows();
        const framer = new MessageFramer(handler, MAX, DATA_ROW);
        let kept = Buffer.alloc(0);
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = Math.min(pieces[i % pieces.length]!, stream.length - at);
          const chunk = Buffer.concat([kept, stream.subarray(at, at + size)]);
          at += size;
          kept = chunk.subarray(framer.feed(chunk, 0, chunk.length));
          expect(kept.length).toBeLessThan(HEADER_BYTES);
        }
        expect(Buffer.concat(handler.forwarded)).toEqual(stream);
      }),
      { numRuns: 300, seed: 3 },
    );
  });
});

const header = (length: number) => {
  const bytes = Buffer.from([0x51, 0, 0, 0, 0]);
  bytes.writeUInt32BE(length, 1);
  return bytes;
};

describe('limits', () => {
  test.each([0, 1, 2, 3, 2049, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])('a length of %i is malformed', (length) => {
    const follower = new Follower([], [], 0, 2048);
    const bytes = Buffer.concat([header(length), Buffer.alloc(10)]);
    expect(follower.framer.feed(bytes, 0, bytes.length)).toBe(bytes.length);
    expect(follower.malformed).toEqual([0x51, length]);
    // Nothing is ever resynchronised.
    const good = frameOf({ type: 0x51, body: Buffer.alloc(3) });
    expect(follower.framer.feed(good, 0, good.length)).toBe(good.length);
    expect(follower.bytes).toBe(0);
  });

  test.each([4, 2048])('a length of %i is not', (length) => {
    const sample: Sample = { type: 0x51, body: Buffer.alloc(length - 4), kind: 'forward' };
    const follower = new Follower([sample], [], 0, 2048);
    feedAll(follower, frameOf(sample), [7]);
    expect(follower.malformed).toBeNull();
    expect(follower.bytes).toBe(length + 1);
  });

  test('what came before a malformed length has been handed over', () => {
    const sample: Sample = { type: 0x51, body: Buffer.from('abc'), kind: 'forward' };
    const follower = new Follower([sample], []);
    const bytes = Buffer.concat([frameOf(sample), header(3)]);
    follower.framer.feed(bytes, 0, bytes.length);
    expect(Buffer.concat(follower.forwarded)).toEqual(frameOf(sample));
    expect(follower.malformed).toEqual([0x51, 3]);
  });

  test('within a series of rows', () => {
    const row = frameOf({ type: DATA_ROW, body: Buffer.from('abc') });
    const follower = new Follower([{ type: DATA_ROW, body: Buffer.from('abc'), kind: 'forward' }], []);
    const bytes = Buffer.concat([row, row, Buffer.from([DATA_ROW, 0, 0, 0, 1])]);
    follower.framer.feed(bytes, 0, bytes.length);
    expect(Buffer.concat(follower.forwarded)).toEqual(Buffer.concat([row, row]));
    expect(follower.malformed).toEqual([DATA_ROW, 1]);
  });

  test('memory of a fetched message follows the bytes that have come, not the length that it claims', () => {
    const sample: Sample = { type: 0x45, body: Buffer.alloc(MAX - 4 - 1_000_000_000), kind: 'fetch-skip' };
    const follower = new Follower([sample], []);
    const before = process.memoryUsage().arrayBuffers;
    const bytes = Buffer.concat([header(4 + sample.body.length), Buffer.alloc(100)]);
    bytes[0] = 0x45;
    follower.framer.feed(bytes, 0, bytes.length);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
    expect(follower.framer.midMessage).toBe(true);
    expect(follower.framer.midForward).toBe(false);
  });

  test('a fetched message of 1 MB in small pieces is put together', () => {
    const body = Buffer.alloc(1_000_000, 'abcdefg');
    const sample: Sample = { type: 0x45, body, kind: 'fetch-forward' };
    const follower = new Follower([sample], []);
    feedAll(follower, frameOf(sample), [1000, 1, 50_000]);
    expect(Buffer.concat(follower.forwarded)).toEqual(frameOf(sample));
  });
});

describe('where the framer stands', () => {
  test('midForward is true inside a forwarded message only', () => {
    for (const [kind, mid, forward] of [
      ['forward', true, true],
      ['skip', true, false],
      ['drop', true, false],
      ['fetch-skip', true, false],
    ] as const) {
      const sample: Sample = { type: 0x51, body: Buffer.alloc(10), kind };
      const follower = new Follower([sample], []);
      const bytes = frameOf(sample);
      follower.framer.feed(bytes, 0, 8);
      expect([kind, follower.framer.midMessage, follower.framer.midForward]).toEqual([kind, mid, forward]);
      follower.framer.feed(bytes, 8, bytes.length);
      expect([follower.framer.midMessage, follower.framer.midForward]).toEqual([false, false]);
    }
  });
});
