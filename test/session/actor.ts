/**
 * A client that does things by chance and knows what may come of them. Everything that it asks for carries a token that
 * is its own; whatever it is told must be about its own tokens.
 */

import { inPiecesOf } from '../support/memory-transport.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { SessionClient } from '../support/session-client.ts';
import type { SessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, rowValues, strings, type WireMessage } from '../support/wire.ts';

/** Errors that say that the connection, or the server, is gone: what was under way is in doubt. */
const ENDS: ReadonlySet<string> = new Set(['57P01', '08006', '08P01', '53300', '57P03']);
const OWN_FAULTS: ReadonlySet<string> = new Set(['22012', '25P02', '22P04', '26000', '42P01', '57014']);

export class Actor {
  readonly client: SessionClient;
  readonly name: string;
  /** Tokens whose commit was confirmed: each is there once. */
  readonly acknowledged: string[] = [];
  /** Tokens that must never be seen: rolled back, failed, or of a batch that was never synchronised. */
  readonly lost: string[] = [];
  isOver = false;
  readonly #bench: SessionBench;
  readonly #random: SeededRandom;
  /** What is committed when the ReadyForQuery that follows the tag says so. */
  #onReady: (() => void)[] = [];
  #readyOwed = 0;
  #tokens = 0;
  #cancelAsked = false;

  constructor(bench: SessionBench, name: string) {
    this.#bench = bench;
    this.#random = bench.environment.random;
    this.name = name;
    const slow = this.#random.below(4) === 0;
    this.client = bench.connect({
      ...(slow ? { capacity: 64 + this.#random.below(2000) } : {}),
      ...(this.#random.below(3) === 0 ? { segmentation: inPiecesOf(1 + this.#random.below(9)) } : {}),
    });
    const parameters = this.#random.below(3) === 0 ? { application_name: name } : {};
    this.client.sendStartup({ parameters });
    this.#expectReady(() => {});
  }

  get isBusy(): boolean {
    return this.#readyOwed > 0;
  }

  /** Does one thing. */
  act(): void {
    if (this.isOver) return;
    if (this.isBusy) {
      this.#disturb();
      return;
    }
    this.#cancelAsked = false;
    const actions = [
      () => this.#select(),
      () => this.#insert(),
      () => this.#transaction(),
      () => this.#failingTransaction(),
      () => this.#batch(),
      () => this.#copy(),
      () => this.#sleep(),
      () => this.#rows(),
      () => this.#abandon(),
    ];
    this.#random.pick(actions)();
  }

  /** Looks at what has come. Throws if any of it is not its own. */
  listen(): void {
    if (this.isOver) return;
    for (const message of this.client.take()) this.#hear(message);
    if (this.client.isEnded) this.isOver = true;
  }

  #hear(message: WireMessage): void {
    switch (message.type) {
      case 'Z':
        if (this.#readyOwed-- === 0) this.#fail('a ReadyForQuery that it had not asked for');
        this.#onReady.shift()?.();
        return;
      case 'D': {
        const [value = ''] = rowValues(message);
        if (!value!.startsWith(`${this.name}-`)) this.#fail(`the row of somebody else: ${value}`);
        return;
      }
      case 'E': {
        const fields = errorFields(message);
        const code = fields.get('C')!;
        // CopyFail has the same code.
        const isCancel = code === '57014' && fields.get('M')!.startsWith('canceling');
        if (isCancel && !this.#cancelAsked) this.#fail('a cancel that it had not asked for');
        if (!OWN_FAULTS.has(code) && !ENDS.has(code)) this.#fail(`error ${code}`);
        // Nothing of what is under way is confirmed any more.
        this.#onReady = this.#onReady.map(() => () => {});
        return;
      }
      case 'S': {
        const [parameter, value] = strings(message.body);
        if (parameter === 'application_name' && value !== '' && value !== this.name) this.#fail(`is called ${value}`);
        return;
      }
      default:
    }
  }

  #fail(what: string): never {
    throw new Error(`${this.name} got ${what}`);
  }

  #token(): string {
    return `${this.name}-${this.#tokens++}`;
  }

  #expectReady(then: () => void): void {
    this.#readyOwed++;
    this.#onReady.push(then);
  }

  #send(...messages: readonly Buffer[]): void {
    this.client.send(...messages);
  }

  #select(): void {
    const token = this.#token();
    this.#expectReady(() => {});
    this.#send(this.#random.below(2) === 0 ? m.query(`SELECT ${token}`) : m.extended(`SELECT ${token}`));
  }

  #rows(): void {
    this.#expectReady(() => {});
    this.#send(m.query(`ROWS ${1 + this.#random.below(60)} ${this.#token()}-${'x'.repeat(this.#random.below(200))}`));
  }

  #insert(): void {
    const token = this.#token();
    this.#expectReady(() => this.acknowledged.push(token));
    this.#send(this.#random.below(2) === 0 ? m.query(`INSERT ${token}`) : m.extended(`INSERT ${token}`));
  }

  #transaction(): void {
    const token = this.#token();
    this.#expectReady(() => {});
    this.#expectReady(() => {});
    this.#expectReady(() => this.acknowledged.push(token));
    this.#send(m.query('BEGIN'), m.extended(`INSERT ${token}`), m.query('COMMIT'));
  }

  #failingTransaction(): void {
    const token = this.#token();
    this.lost.push(token);
    for (let i = 0; i < 4; i++) this.#expectReady(() => {});
    this.#send(m.query('BEGIN'), m.query(`INSERT ${token}`), m.query('FAIL'), m.query('COMMIT'));
  }

  #batch(): void {
    const token = this.#token();
    const fails = this.#random.below(2) === 0;
    if (fails) this.lost.push(token);
    this.#expectReady(() => {
      if (!fails) this.acknowledged.push(token);
    });
    this.#send(m.batch(`INSERT ${token}`), m.flush(), ...(fails ? [m.bind({ statement: 'none' })] : []), m.sync());
  }

  #copy(): void {
    const token = this.#token();
    const end = this.#random.below(3);
    if (end > 0) this.lost.push(token);
    this.#expectReady(() => {
      if (end === 0) this.acknowledged.push(token);
    });
    const data = [m.copyData(token), ...(end === 1 ? [m.copyData('bad')] : [])];
    this.#send(m.query('COPY IN'), ...data, end === 2 ? m.copyFail() : m.copyDone());
  }

  #sleep(): void {
    this.#expectReady(() => {});
    this.#send(m.query('SLEEP'));
  }

  /** Leaves with something open that must not take effect. */
  #abandon(): void {
    const token = this.#token();
    this.lost.push(token);
    const insert = m.query(`INSERT ${token}`);
    const open = this.#random.pick([
      [m.query('BEGIN'), insert],
      [m.batch(`INSERT ${token}`)],
      [m.batch(`INSERT ${token}`), m.flush()],
      [m.query('BEGIN'), insert, m.query('SLEEP')],
      [m.query('COPY IN'), m.copyData(token)],
      [m.batch('COPY IN'), m.copyData(token)],
      [],
    ]);
    // A Terminate behind half a message would be the rest of it.
    const isHalf = open.length === 0;
    this.#send(...open, isHalf ? insert.subarray(0, 1 + this.#random.below(insert.length - 2)) : Buffer.alloc(0));
    if (this.#random.below(2) === 0) this.#bench.run();
    this.#leave(isHalf);
  }

  #leave(silently = false): void {
    this.isOver = true;
    this.client.stream.resume();
    const how = this.#random.below(3);
    if (how === 0 && !silently) this.client.send(m.terminate());
    if (how === 2) this.client.stream.reset();
    else this.client.stream.destroy();
  }

  /** While something is under way: a cancel, a pause, or the end. */
  #disturb(): void {
    switch (this.#random.below(8)) {
      case 0: {
        const key = this.client.messages.find(({ type }) => type === 'K')?.body ?? this.client.key;
        if (key.length === 0) return;
        this.#cancelAsked = true;
        this.#bench.connect().send(m.cancel(key));
        return;
      }
      case 1:
        this.client.stream.pause();
        return;
      case 2:
      case 3:
        this.client.stream.resume();
        return;
      case 4:
        if (this.#random.below(4) === 0) this.#leave();
        return;
      default:
    }
  }
}
