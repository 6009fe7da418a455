/** What one client calls by one name. As a note it hears what became of the Parse that gave the name. */

import type { ReplyNote } from '../server/note-queue.ts';
import type { PooledStatement } from '../server/pooled-statement.ts';
import type { ClientStatements } from './client-statements.ts';

export class NamedStatement implements ReplyNote {
  readonly name: string;
  readonly statement: PooledStatement;
  /** In which batch its Parse was sent (`ReplyLedger.batch`); null once that was answered. */
  sentInBatch: number | null;
  readonly #client: ClientStatements;

  constructor(client: ClientStatements, name: string, statement: PooledStatement, batch: number) {
    this.#client = client;
    this.name = name;
    this.statement = statement;
    this.sentInBatch = batch;
  }

  answered(): void {
    this.sentInBatch = null;
  }

  failed(): void {
    this.#client.forget(this);
  }

  skipped(): void {
    this.#client.forget(this);
  }
}
