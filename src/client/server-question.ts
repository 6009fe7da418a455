/**
 * One query of the operator's, asked through a pool like a client's: logins, budgets and TLS are the pool's. It knows
 * neither what it asks nor what the answer is for.
 */
import type { ClientCloseReason } from '../base/close-reason.ts';
import type { ErrorReport } from '../base/errors.ts';
import type { LinkedList } from '../base/linked-list.ts';
import { WRITE_GONE, type WriteResult } from '../base/transport.ts';
import type { Pool } from '../pool/pool.ts';
import type { Waiter } from '../pool/waiter.ts';
import * as client from '../protocol/client-messages.ts';
import { parseErrorFields } from '../protocol/error-fields.ts';
import * as type from '../protocol/message-type.ts';
import type { ServerConnection } from '../server/server-connection.ts';
import type { ServerHolder, ServerLoss } from '../server/server-holder.ts';
import { StartupSet } from '../server/startup-set.ts';

export type Row = readonly (string | null)[];

interface Settle {
  resolve(rows: readonly Row[]): void;
  reject(error: Error): void;
}

export class ServerQuestion implements Waiter, ServerHolder {
  list: LinkedList<Waiter> | null = null;
  previous: Waiter | null = null;
  next: Waiter | null = null;
  waitingSinceMs = 0;
  waitNotified = false;
  readonly startup = StartupSet.NONE;
  readonly forbidsTransactions = false;
  readonly #pool: Pool;
  readonly #sql: string;
  readonly #settle: Settle;
  readonly #chunks: Buffer[] = [];
  #server: ServerConnection | null = null;

  private constructor(pool: Pool, sql: string, settle: Settle) {
    this.#pool = pool;
    this.#sql = sql;
    this.#settle = settle;
  }

  /** The rows of a query that has one result; rejects with words for the operator. `give` is how to give up. */
  static ask(pool: Pool, sql: string, give: (up: (words: string) => void) => void): Promise<readonly Row[]> {
    return new Promise((resolve, reject) => {
      const question = new ServerQuestion(pool, sql, { resolve, reject });
      give((words) => question.#giveUp(words));
      const server = pool.acquire(question);
      if (server !== null) question.onServer(server);
    });
  }

  onServer(server: ServerConnection): void {
    this.#server = server;
    server.link(this);
    server.admit(type.QUERY);
    server.requests.send(client.query(this.#sql));
  }

  onNoServer({ message, detail }: ErrorReport, _reason: ClientCloseReason): void {
    this.#settle.reject(new Error(detail === undefined ? message : `${message}: ${detail}`));
  }

  onServerBytes(buffer: Buffer, from: number, to: number): WriteResult {
    this.#chunks.push(Buffer.from(buffer.subarray(from, to)));
    return WRITE_GONE;
  }

  onServerReady(): void {
    this.#server?.unlink();
    this.#server = null;
    const answer = readAnswer(Buffer.concat(this.#chunks));
    if (typeof answer === 'string') this.#settle.reject(new Error(answer));
    else this.#settle.resolve(answer);
  }

  onServerOutdated(): void {}

  onServerLost({ reason, fatal }: ServerLoss): void {
    this.#server = null;
    this.#settle.reject(new Error(fatal?.message ?? `the connection was lost (${reason})`));
  }

  onServerRefused({ message }: ErrorReport): void {
    this.#settle.reject(new Error(message));
  }

  statementName(): null {
    return null;
  }

  onServerDirty(): boolean {
    return false;
  }

  onServerPlanChanged(): boolean {
    return false;
  }

  onLongWait(): void {}
  onServerParameter(): void {}
  onServerTransaction(): void {}
  onServerQueryEnded(): void {}
  onServerReset(): void {}
  onServerDeallocatedAll(): void {}
  onServerGap(): void {}
  onServerProgress(): void {}
  onServerDrain(): void {}
  onTick(): void {}

  #giveUp(words: string): void {
    this.#pool.leave(this);
    this.#settle.reject(new Error(words));
  }
}

/** The rows, or the server's error. */
function readAnswer(bytes: Buffer): Row[] | string {
  const rows: Row[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1);
    const body = bytes.subarray(at + 5, end);
    if (bytes[at] === type.DATA_ROW) rows.push(readRow(body));
    else if (bytes[at] === type.ERROR_RESPONSE) return parseErrorFields(bytes, at + 5, end).message;
    at = end;
  }
  return rows;
}

/** A DataRow with text values. */
function readRow(body: Buffer): Row {
  const row: (string | null)[] = [];
  let at = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at);
    at += 4;
    row.push(length === -1 ? null : body.toString('utf8', at, at + length));
    at += Math.max(0, length);
  }
  return row;
}
