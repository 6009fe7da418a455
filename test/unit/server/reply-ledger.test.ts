/**
 * The ledger against a model of PostgreSQL (test/support/model-session.ts): whatever clients send and however replies
 * and messages interleave, each reply is owed, and the client is told exactly what it would be told directly.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FORWARD, HOLD, SKIP } from '../../../src/protocol/message-framer.ts';
import { SUBSTITUTE, TO_CLIENT, TO_NOBODY } from '../../../src/server/reply-entry.ts';
import { MAX_OWED, NOT_OWED, ReplyLedger } from '../../../src/server/reply-ledger.ts';
import { ModelDatabase } from '../../support/model-database.ts';
import { ModelSession } from '../../support/model-session.ts';
import { decode, MessageReader, client as m, server as s, type WireMessage } from '../../support/wire.ts';
import { type Move, moves } from './client-moves.ts';

const code = (type: string): number => type.charCodeAt(0);
const FLUSH = decode(m.flush())[0]!;

/** Sends everything directly, and says what is answered. */
function directly(messages: readonly WireMessage[]): string {
  const replies: string[] = [];
  const model = newModel((types) => replies.push(...types));
  for (const message of messages) model.receive(message);
  return replies.join('');
}

function newModel(onReplies: (types: string[]) => void): ModelSession {
  const database = new ModelDatabase();
  const reader = new MessageReader();
  return new ModelSession(database, 1, new Map(database.parameters), {
    onReplies: (bytes) => onReplies(reader.push(bytes).map(({ type }) => type)),
    onExit: () => {},
  });
}

/** A server behind a ledger; replies are on their way until they are let through. */
class Served {
  readonly ledger = new ReplyLedger();
  readonly model: ModelSession;
  readonly answered: string[] = [];
  readonly #onTheirWay: string[] = [];

  constructor() {
    this.model = newModel((types) => this.#onTheirWay.push(...types));
  }

  send(message: WireMessage): void {
    let verdict = this.ledger.admit(code(message.type));
    while (verdict === HOLD) {
      if (this.#onTheirWay.length === 0) {
        if (this.ledger.admit(code('H')) !== FORWARD) throw new Error('held for ever');
        this.model.receive(FLUSH);
        if (this.#onTheirWay.length === 0) throw new Error('held for ever, although flushed');
      }
      this.deliver(1);
      verdict = this.ledger.admit(code(message.type));
    }
    if (verdict === FORWARD) this.model.receive(message);
    else expect(verdict).toBe(SKIP);
  }

  deliver(count: number): void {
    for (let left = count; left > 0; left--) {
      const type = this.#onTheirWay.shift();
      if (type === undefined) return;
      this.answered.push(type);
      if ('NSA'.includes(type)) continue;
      const destination = this.ledger.reply(code(type));
      if (destination === NOT_OWED) throw new Error(`not owed: ${type} after ${this.answered.join('')}`);
      expect(destination).toBe(TO_CLIENT);
      this.#checkQuiet();
    }
  }

  deliverAll(): void {
    this.deliver(Number.POSITIVE_INFINITY);
    this.#checkQuiet();
  }

  get isQuiet(): boolean {
    return this.#onTheirWay.length === 0;
  }

  /** Whoever releases a server believes these. */
  #checkQuiet(): void {
    const { ledger, model } = this;
    if (!this.isQuiet) {
      // What is still to come is owed.
      if (ledger.idle) throw new Error(`idle, although ${this.#onTheirWay.join('')} is still to come`);
      return;
    }
    expect(ledger.copyIn).toBe(model.isInCopy);
    expect(ledger.batchOpen).toBe(model.isBatchOpen || (model.isInCopy && ledger.batchOpen));
    expect(ledger.idle).toBe(model.isAtBoundary);
    if (ledger.idle) expect([ledger.owed, ledger.readyOwed]).toEqual([0, 0]);
  }
}

function decoded(list: readonly Move[]): WireMessage[] {
  return list.flat().flatMap((bytes) => decode(bytes));
}

describe('against PostgreSQL’s rules', () => {
  const schedules = fc.array(fc.nat(6), { minLength: 1, maxLength: 40 });

  test('the client is told what it would be told directly, and nothing is owed in the end', () => {
    fc.assert(
      fc.property(moves, schedules, (list, schedule) => {
        const messages = decoded(list);
        const served = new Served();
        messages.forEach((message, i) => {
          served.send(message);
          served.deliver(schedule[i % schedule.length]!);
        });
        served.deliverAll();
        // Both sides get a Sync (two: one may belong to an open COPY), so that whatever is kept back comes out.
        const end = decoded([[m.copyFail(), m.sync(), m.sync()]]);
        for (const message of end) served.send(message);
        served.deliverAll();
        expect(served.answered.join('')).toBe(directly([...messages, ...end]));
        expect(served.ledger.idle).toBe(true);
        expect([served.ledger.owed, served.ledger.readyOwed]).toEqual([0, 0]);
      }),
      { numRuns: 1500, seed: 7 },
    );
  });

  test('with nothing delivered until all is sent', () => {
    fc.assert(
      fc.property(moves, (list) => {
        const messages = [...decoded(list), ...decoded([[m.copyFail(), m.sync(), m.sync()]])];
        const served = new Served();
        for (const message of messages) served.send(message);
        served.deliverAll();
        expect(served.answered.join('')).toBe(directly(messages));
        expect(served.ledger.idle).toBe(true);
      }),
      { numRuns: 1000, seed: 8 },
    );
  });
});

describe('replies that nothing owes', () => {
  const replies = '12stnTDCIVZEGHWdc';

  test('a fresh ledger owes none', () => {
    for (const type of replies) expect(new ReplyLedger().reply(code(type))).toBe(NOT_OWED);
  });

  test.each([
    ['a Query', 'Q', 'TDCIZEGHWdc'],
    ['a Parse', 'P', '1E'],
    ['a Bind', 'B', '2E'],
    ['a Describe', 'D', 'tTnE'],
    ['an Execute', 'E', 'DCIsTEGHWdc'],
    ['a Close', 'C', '3E'],
    ['a Sync', 'S', 'ZE'],
    ['a FunctionCall', 'F', 'VZE'],
  ])('%s owes these only', (_name, sent, owed) => {
    for (const type of `${replies}3~RKv`) {
      const ledger = new ReplyLedger();
      ledger.admit(code(sent));
      expect([type, ledger.reply(code(type)) !== NOT_OWED]).toEqual([type, owed.includes(type)]);
    }
  });

  test('a second ReadyForQuery is owed by a second Sync only', () => {
    const ledger = new ReplyLedger();
    ledger.admit(code('S'));
    ledger.admit(code('S'));
    expect([ledger.owed, ledger.readyOwed]).toEqual([2, 2]);
    expect(ledger.reply(code('Z'))).toBe(TO_CLIENT);
    expect(ledger.reply(code('Z'))).toBe(TO_CLIENT);
    expect(ledger.reply(code('Z'))).toBe(NOT_OWED);
  });
});

describe('for whom a reply is', () => {
  test('stays with its message, in order', () => {
    const ledger = new ReplyLedger();
    ledger.admit(code('Q'), TO_NOBODY);
    ledger.admit(code('Q'));
    ledger.admit(code('Q'), SUBSTITUTE);
    ledger.admit(code('Q'));
    const destinations = ['C', 'Z', 'C', 'Z', 'E', 'Z', 'C', 'Z'].map((type) => ledger.reply(code(type)));
    expect(destinations).toEqual([
      TO_NOBODY,
      TO_NOBODY,
      TO_CLIENT,
      TO_CLIENT,
      SUBSTITUTE,
      SUBSTITUTE,
      TO_CLIENT,
      TO_CLIENT,
    ]);
    expect(ledger.idle).toBe(true);
  });

  test('an error drops what follows to the Sync, whoever it was for', () => {
    const ledger = new ReplyLedger();
    for (const type of 'PBE') ledger.admit(code(type));
    ledger.admit(code('B'), SUBSTITUTE);
    ledger.admit(code('S'), TO_NOBODY);
    expect(ledger.reply(code('1'))).toBe(TO_CLIENT);
    expect(ledger.reply(code('E'))).toBe(TO_CLIENT);
    expect([ledger.owed, ledger.readyOwed]).toEqual([1, 1]);
    expect(ledger.reply(code('Z'))).toBe(TO_NOBODY);
    expect(ledger.idle).toBe(true);
  });

  test('while the server drops everything, nothing but a Sync is recorded', () => {
    const ledger = new ReplyLedger();
    ledger.admit(code('B'));
    ledger.reply(code('E'));
    expect(ledger.skippingToSync).toBe(true);
    for (const type of 'PBDECQFH') expect(ledger.admit(code(type))).toBe(FORWARD);
    expect([ledger.owed, ledger.batchOpen]).toEqual([0, true]);
    ledger.admit(code('S'));
    expect([ledger.owed, ledger.batchOpen, ledger.skippingToSync]).toEqual([1, false, false]);
    ledger.reply(code('Z'));
    expect(ledger.idle).toBe(true);
  });
});

describe('bounds', () => {
  test('a hundred thousand equal messages take one entry, and are counted exactly', () => {
    const ledger = new ReplyLedger();
    for (let i = 0; i < 100_000; i++) ledger.admit(code('S'));
    expect(ledger.owed).toBe(100_000);
    for (let i = 0; i < 100_000; i++) expect(ledger.reply(code('Z'))).toBe(TO_CLIENT);
    expect(ledger.idle).toBe(true);
    expect(MAX_OWED).toBeLessThanOrEqual(65_536);
  });

  test('alternating messages grow the ring, and keep their order over its end', () => {
    const ledger = new ReplyLedger();
    let next = 0;
    for (let i = 0; i < 1000; i++) {
      ledger.admit(code('PBCS'[i % 4]!));
      if (i % 3 === 0) expect(ledger.reply(code('123Z'[next++ % 4]!))).toBe(TO_CLIENT);
    }
    while (next < 1000) expect(ledger.reply(code('123Z'[next++ % 4]!))).toBe(TO_CLIENT);
    expect(ledger.idle).toBe(true);
  });

  test('a message that is none of a client’s is a defect of ours', () => {
    expect(() => new ReplyLedger().admit(code('X'))).toThrow('not for servers');
    expect(() => new ReplyLedger().admit(code('p'))).toThrow('not for servers');
  });
});

const answers = (...messages: Buffer[]): string => directly(messages.flatMap((bytes) => decode(bytes)));

test('the model that judges is PostgreSQL’s: what the documentation says about a few cases', () => {
  expect(answers(m.parse('SELECT a'))).toBe('');
  expect(answers(m.parse('SELECT a'), m.flush())).toBe('1');
  expect(answers(m.bind({ statement: 'none' }), m.query('SELECT a'), m.sync())).toBe('EZ');
  expect(answers(m.batch('COPY IN'), m.sync(), m.copyData('x'), m.copyDone(), m.sync())).toBe('12GCZ');
  expect(answers(m.batch('COPY REFUSED'), m.sync(), m.copyData('x'), m.copyDone(), m.sync())).toBe('12EZZ');
  expect(answers(m.query('BEGIN; FAIL'), m.sync())).toBe('CEZZ');
  expect(s.ready('I')).toHaveLength(6);
});
