/** A client that asks in every way there is, with a token in each question, and lets no answer pass that is not its own. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { outcome, TcpClient } from '../support/corpus/tcp-client.ts';
import type { PoolerFixture } from '../support/pooler-fixture.ts';
import { ReturningClient } from './returning-client.ts';

export interface Tally {
  asked: number;
  answered: number;
  lost: number;
  canceled: number;
  readonly pids: Set<string>;
}

const COLUMNS = 'current_user, current_database(), pg_backend_pid()';

export class Asker {
  readonly #client: ReturningClient;
  readonly #pool: PoolerFixture;
  readonly #random: () => number;
  readonly #tally: Tally;

  constructor(pool: PoolerFixture, random: () => number, tally: Tally) {
    this.#client = new ReturningClient(pool);
    this.#pool = pool;
    this.#random = random;
    this.#tally = tally;
  }

  /** Asks once, in one of many ways. Throws `LostConnection` when a session was ended; any other error is a finding. */
  async ask(): Promise<void> {
    const way = this.#random();
    if (way < 0.3) await this.#pipeline(1);
    else if (way < 0.6) await this.#pipeline(2 + Math.floor(this.#random() * 8));
    else if (way < 0.8) await this.#transaction();
    else if (way < 0.86) await this.#vanish();
    else if (way < 0.92) await this.#cancel();
    else if (way < 0.96) await this.#large();
    else await this.#unanswered();
  }

  leave(): Promise<void> {
    return this.#client.leave();
  }

  /** A question and what tells its answer; one in eight is an error that quotes the token. */
  #question(): { readonly message: Buffer; readonly token: string; readonly fails: boolean } {
    const token = randomUUID();
    const fails = this.#random() < 0.125;
    const simple = this.#random() < 0.5;
    this.#tally.asked++;
    if (fails) {
      const sql = `select '${token}'::int`;
      return { token, fails, message: simple ? bytes.query(sql) : Buffer.concat([bytes.extended(sql), bytes.sync]) };
    }
    const sql = `select '${token}', ${simple ? `'${token}'` : '$1::text'}, ${COLUMNS}`;
    return {
      token,
      fails,
      message: simple ? bytes.query(sql) : Buffer.concat([bytes.extended(sql, token), bytes.sync]),
    };
  }

  #check(messages: TcpClient['messages'], { token, fails }: { token: string; fails: boolean }): void {
    const text = Buffer.concat(messages.map(({ body }) => body)).toString('latin1');
    const tokens = text.match(/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g) ?? [];
    expect(new Set(tokens)).toEqual(new Set([token]));
    const { rows, sqlstate } = outcome(messages);
    this.#tally.answered++;
    if (fails) {
      expect(sqlstate).toBe('22P02');
      return;
    }
    expect(sqlstate).toBeNull();
    expect(rows).toEqual([[token, token, 'dave', this.#pool.database, expect.any(String)]]);
    this.#tally.pids.add(rows[0]?.[4] ?? '');
  }

  async #pipeline(count: number): Promise<void> {
    const client = await this.#client.connection();
    const questions = Array.from({ length: count }, () => this.#question());
    client.send(...questions.map(({ message }) => message));
    for (const question of questions) this.#check(await this.#client.answers(client, 1), question);
  }

  async #transaction(): Promise<void> {
    const client = await this.#client.connection();
    client.send(bytes.query('begin'));
    await this.#client.answers(client, 1);
    let pid: string | null = null;
    for (let i = 0; i < 3; i++) {
      const token = randomUUID();
      this.#tally.asked++;
      client.send(bytes.query(`select '${token}', '${token}', ${COLUMNS}`));
      const messages = await this.#client.answers(client, 1);
      this.#check(messages, { token, fails: false });
      const [row] = outcome(messages).rows;
      expect(pid ?? row?.[4]).toBe(row?.[4]);
      pid = row?.[4] ?? null;
    }
    client.send(bytes.query(this.#random() < 0.5 ? 'commit' : 'rollback'));
    await this.#client.answers(client, 1);
  }

  /** Goes away in the middle of a question. */
  async #vanish(): Promise<void> {
    const client = await this.#client.connection();
    const { message } = this.#question();
    client.send(message.subarray(0, Math.floor(this.#random() * (message.length + 1))));
    if (this.#random() < 0.5) await (await TcpClient.connect(this.#pool)).drop();
    await this.#client.vanish(this.#random() < 0.5 ? 'fin' : 'rst');
  }

  async #cancel(): Promise<void> {
    const client = await this.#client.connection();
    client.send(bytes.query('select pg_sleep(0.01)'));
    const request = await TcpClient.connect(this.#pool);
    request.send(bytes.cancelRequest(client.cancelKey));
    await request.rest();
    await request.drop();
    const { sqlstate } = outcome(await this.#client.answers(client, 1));
    if (sqlstate !== null) expect(sqlstate).toBe('57014');
    if (sqlstate !== null) this.#tally.canceled++;
  }

  async #large(): Promise<void> {
    const client = await this.#client.connection();
    const token = randomUUID();
    this.#tally.asked++;
    client.send(bytes.query(`select repeat('${token} ', 4000), '${token}', ${COLUMNS}`));
    const messages = await this.#client.answers(client, 1);
    expect(outcome(messages).rows[0]?.[0]).toBe(`${token} `.repeat(4000));
    this.#tally.answered++;
  }

  /** Leaves with Terminate and lets the answer be. */
  async #unanswered(): Promise<void> {
    const client = await this.#client.connection();
    client.send(this.#question().message);
    await this.#client.leave();
  }
}
