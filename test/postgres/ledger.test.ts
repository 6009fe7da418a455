/**
 * Writes under fire: what was acknowledged is there exactly once, what was refused or rolled back is not there, and what
 * nobody knows is there once or not at all. A pooler that repeats a statement by itself would be seen here.
 */
import { expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { outcome, type QueryOutcome } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { chance, terminator } from './chaos.ts';
import { LostConnection } from './lost-connection.ts';
import { ReturningClient } from './returning-client.ts';

const CLIENTS = 16;
const WRITES_EACH = 150;

/** What a client knows of its row. */
type Fate = 'acknowledged' | 'refused' | 'in doubt';

class Writer {
  readonly fates = new Map<number, Fate>();
  readonly #client: ReturningClient;
  readonly #random: () => number;
  readonly #name: number;
  #sequence = 0;

  constructor(pool: PoolerFixture, name: number, random: () => number) {
    this.#client = new ReturningClient(pool);
    this.#name = name;
    this.#random = random;
  }

  leave(): Promise<void> {
    return this.#client.leave();
  }

  async write(): Promise<void> {
    const way = this.#random();
    if (way < 0.3) await this.#alone();
    else if (way < 0.55) await this.#inTransaction();
    else if (way < 0.75) await this.#pipelined();
    else if (way < 0.85) await this.#refused();
    else if (way < 0.95) await this.#vanishing();
    else await this.#neverCommitted();
  }

  #row(): { readonly sequence: number; readonly sql: string } {
    const sequence = this.#sequence++;
    this.fates.set(sequence, 'in doubt');
    return { sequence, sql: `insert into ledger values (${this.#name}, ${sequence})` };
  }

  /** One message or batch, as simple or extended query. */
  #message(sql: string): Buffer {
    return this.#random() < 0.5 ? bytes.query(sql) : Buffer.concat([bytes.extended(sql), bytes.sync]);
  }

  async #ask(...messages: readonly Buffer[]): Promise<QueryOutcome[]> {
    const client = await this.#client.connection();
    client.send(...messages);
    const answers: QueryOutcome[] = [];
    for (let i = 0; i < messages.length; i++) answers.push(outcome(await this.#client.answers(client, 1)));
    return answers;
  }

  async #alone(): Promise<void> {
    const { sequence, sql } = this.#row();
    const [answer] = await this.#ask(this.#message(sql));
    this.fates.set(sequence, answer?.sqlstate === null ? 'acknowledged' : 'refused');
  }

  async #inTransaction(): Promise<void> {
    const rows = [this.#row(), this.#row()];
    const commits = this.#random() < 0.6;
    const fails = this.#random() < 0.2;
    await this.#ask(bytes.query('begin'));
    // Lost before COMMIT was sent: it cannot be there.
    for (const { sequence } of rows) this.fates.set(sequence, 'refused');
    for (const { sql } of rows) await this.#ask(this.#message(sql));
    if (fails) await this.#ask(bytes.query('select 1/0'));
    if (!commits || fails) {
      await this.#ask(bytes.query(fails && commits ? 'commit' : 'rollback'));
      return;
    }
    for (const { sequence } of rows) this.fates.set(sequence, 'in doubt');
    const [answer] = await this.#ask(this.#message('commit'));
    for (const { sequence } of rows)
      this.fates.set(sequence, answer?.tags[0] === 'COMMIT' ? 'acknowledged' : 'refused');
  }

  async #pipelined(): Promise<void> {
    const rows = Array.from({ length: 5 }, () => this.#row());
    const client = await this.#client.connection();
    client.send(...rows.map(({ sql }) => this.#message(sql)));
    for (const { sequence } of rows) {
      const { sqlstate } = outcome(await this.#client.answers(client, 1));
      this.fates.set(sequence, sqlstate === null ? 'acknowledged' : 'refused');
    }
  }

  /** The error comes after the insert, in the same implicit transaction. */
  async #refused(): Promise<void> {
    const { sequence, sql } = this.#row();
    this.fates.set(sequence, 'refused');
    const simple = bytes.query(`${sql}; select 1/0`);
    const extended = Buffer.concat([bytes.extended(sql), bytes.extended('select 1/0'), bytes.sync]);
    const [answer] = await this.#ask(this.#random() < 0.5 ? simple : extended);
    expect(answer?.sqlstate).toBe('22012');
  }

  async #vanishing(): Promise<void> {
    const { sql } = this.#row();
    const client = await this.#client.connection();
    const message = this.#message(sql);
    client.send(message.subarray(0, Math.floor(this.#random() * (message.length + 20))));
    await this.#client.vanish(this.#random() < 0.5 ? 'fin' : 'rst');
  }

  /** Leaves, politely or not, before it has said what makes the row stay. */
  async #neverCommitted(): Promise<void> {
    const { sequence, sql } = this.#row();
    this.fates.set(sequence, 'refused');
    const client = await this.#client.connection();
    client.send(this.#random() < 0.5 ? bytes.query(`begin; ${sql}`) : bytes.extended(sql));
    const end = this.#random();
    if (end < 0.4) await this.#client.leave();
    else await this.#client.vanish(end < 0.7 ? 'fin' : 'rst');
  }
}

it.each([
  ['transaction', 20_261_125],
  ['session', 20_261_126],
])(
  'keeps the books (%s mode)',
  async (mode, seed) => {
    const pool = await pooler({
      cluster: sharedCluster(18),
      pool_mode: mode,
      pool_size: mode === 'session' ? CLIENTS : 3,
      server_login_retry: 0.1,
      expectedCloses: ['abandoned', 'fatal_error', 'eof', 'dirty_while_idle', 'reset_failed'],
    });
    await pool.cluster.query(
      'create table ledger (client int, sequence int); grant all on ledger to public',
      [],
      pool.database,
    );
    const random = chance(seed);
    const killer = terminator(pool, chance(seed + 1));
    const writers = Array.from({ length: CLIENTS }, (_, name) => new Writer(pool, name, random));
    let lost = 0;
    const work = async (writer: Writer): Promise<void> => {
      for (let i = 0; i < WRITES_EACH; i++) {
        try {
          await writer.write();
        } catch (error) {
          if (!(error instanceof LostConnection)) throw error;
          lost++;
        }
      }
      await writer.leave();
    };
    await Promise.all(writers.map(work));
    expect(await killer.stop()).toBeGreaterThan(5);
    expect(lost).toBeGreaterThan(0);

    // What a client has left behind may still run; when the pooler has given every server back, nothing does.
    await pool.close();
    const rows = await pool.cluster.query<{ client: number; sequence: number; count: number }>(
      'select client, sequence, count(*)::int as count from ledger group by 1, 2',
      [],
      pool.database,
    );
    const found = new Map(rows.map(({ client, sequence, count }) => [`${client}/${sequence}`, count]));
    const wrong: string[] = [];
    const tally = { acknowledged: 0, refused: 0, 'in doubt': 0 };
    writers.forEach(({ fates }, client) => {
      for (const [sequence, fate] of fates) {
        const count = found.get(`${client}/${sequence}`) ?? 0;
        tally[fate]++;
        const right = fate === 'acknowledged' ? count === 1 : fate === 'refused' ? count === 0 : count <= 1;
        if (!right) wrong.push(`${client}/${sequence}: ${fate}, but found ${count} times`);
      }
    });
    expect(wrong).toEqual([]);
    expect(tally.acknowledged).toBeGreaterThan(1000);
    expect(tally.refused).toBeGreaterThan(200);
  },
  60_000,
);
