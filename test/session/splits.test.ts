/**
 * How a stream is cut into chunks changes nothing: every split in two of what the client and of what the server sends,
 * byte by byte, and by chance, yields the same bytes on the other side.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cutAt, inPiecesOf, type Segmentation } from '../support/memory-transport.ts';
import { type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { decode, encode } from '../support/wire.ts';
import { traceLine } from '../support/wire-trace.ts';
import { type Conversation, corpus } from './corpus.ts';

interface Outcome {
  /** Everything that the client got after its login, message by message. */
  readonly toClient: readonly string[];
  /** Everything that the server got for it. */
  readonly toServer: readonly string[];
  readonly bytesFromServer: number;
}

/** Offsets count from the conversation's first byte. */
interface Cuts {
  readonly client?: Segmentation;
  readonly server?: Segmentation;
}

function converse(bench: SessionBench, { steps }: Conversation, cuts: Cuts): Outcome {
  const client = bench.client();
  const session = bench.server();
  const fromClient = bench.transportOf(client);
  const fromServer = bench.postgres.transportOf(session);
  const [clientStart, serverStart] = [fromClient.readOffset, fromServer.readOffset];
  if (cuts.client !== undefined) fromClient.segmentation = (at, size) => cuts.client!(at - clientStart, size);
  if (cuts.server !== undefined) fromServer.segmentation = (at, size) => cuts.server!(at - serverStart, size);
  const seen = session.received.length;
  const chunks = client.chunks.length;
  for (const step of steps) client.exchange(step);
  fromServer.segmentation = (_at, size) => size;
  const bytesFromServer = fromServer.readOffset - serverStart;
  client.leave();
  return {
    toClient: decode(Buffer.concat(client.chunks.slice(chunks))).map((message) => traceLine('B', message)),
    toServer: session.received.slice(seen).map((message) => traceLine('F', message)),
    bytesFromServer,
  };
}

function expectSame(conversation: Conversation, whole: Outcome, cut: Outcome, how: string): void {
  expect(cut.toClient, how).toEqual(whole.toClient);
  if (conversation.timing !== true) expect(cut.toServer, how).toEqual(whole.toServer);
}

function wholeAndBench(conversation: Conversation, ownMemory: boolean): { bench: SessionBench; whole: Outcome } {
  const bench = sessionBench({ pool_size: 1 }, { ownMemory });
  bench.client().query('SELECT first');
  const whole = converse(bench, conversation, {});
  expect(whole.toClient).not.toEqual([]);
  return { bench, whole };
}

describe('every split in two', () => {
  test.each(corpus)('$name', (conversation) => {
    const { bench, whole } = wholeAndBench(conversation, false);
    const bytes = conversation.steps.reduce((sum, step) => sum + step.length, 0);
    for (let cut = 1; cut < bytes; cut++) {
      expectSame(conversation, whole, converse(bench, conversation, { client: cutAt(cut) }), `client cut at ${cut}`);
    }
    for (let cut = 1; cut < whole.bytesFromServer; cut++) {
      expectSame(conversation, whole, converse(bench, conversation, { server: cutAt(cut) }), `server cut at ${cut}`);
    }
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

describe.each([
  ['memory that is used again', false],
  ['memory of its own', true],
])('in small pieces, chunks in %s', (_name, ownMemory) => {
  test.each(corpus)('$name', (conversation) => {
    const { bench, whole } = wholeAndBench(conversation, ownMemory);
    for (const size of [1, 2, 3, 5, 7]) {
      const pieces = inPiecesOf(size);
      expectSame(conversation, whole, converse(bench, conversation, { client: pieces }), `client in ${size}s`);
      expectSame(conversation, whole, converse(bench, conversation, { server: pieces }), `server in ${size}s`);
      const both = converse(bench, conversation, { client: pieces, server: pieces });
      expectSame(conversation, whole, both, `both in ${size}s`);
    }
    expect(bench.postgres.sessions).toHaveLength(1);
  });
});

test('chance: several conversations, both sides cut anywhere', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...corpus), { minLength: 1, maxLength: 3 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 }),
      fc.boolean(),
      (conversations, clientSizes, serverSizes, ownMemory) => {
        const bench = sessionBench({ pool_size: 1 }, { ownMemory, manual: true });
        bench.client().query('SELECT first');
        for (const conversation of conversations) {
          const whole = converse(bench, conversation, {});
          const cut = converse(bench, conversation, { client: sizes(clientSizes), server: sizes(serverSizes) });
          expectSame(conversation, whole, cut, 'by chance');
        }
        bench.finish();
      },
    ),
    { numRuns: 150, seed: 20_251_122 },
  );
});

function sizes(list: readonly number[]): Segmentation {
  let next = 0;
  return (_offset, available) => Math.min(available, list[next++ % list.length]!);
}

test('the bench can tell: encoders and decoders agree', () => {
  for (const { steps } of corpus) {
    expect(steps.every((step) => step.length > 0)).toBe(true);
  }
  expect(encode({ type: 'S', body: Buffer.alloc(0) }).toString('hex')).toBe('5300000004');
});
