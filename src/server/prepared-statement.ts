/**
 * One statement on one server: whether its Parse has been answered, and how recently it was used. As a note it hears what
 * became of a Bind or Describe of it.
 */
import type { LinkedList, Listed } from '../base/linked-list.ts';
import type { ErrorFields } from '../protocol/error-fields.ts';
import type { ReplyNote } from './note-queue.ts';
import type { PooledStatement } from './pooled-statement.ts';

export class PreparedStatement implements Listed<PreparedStatement>, ReplyNote {
  list: LinkedList<PreparedStatement> | null = null;
  previous: PreparedStatement | null = null;
  next: PreparedStatement | null = null;
  readonly statement: PooledStatement;
  /** In which batch of the server's its Parse was sent (`ReplyLedger.batch`); null once that was answered. */
  sentInBatch: number | null;
  /** What the plan was made for; see `PooledStatement.generation`. */
  readonly #generation: number;
  #isGone = false;

  constructor(statement: PooledStatement, batch: number) {
    this.statement = statement;
    this.sentInBatch = batch;
    this.#generation = statement.generation;
  }

  /** The server has it no more, or as something that cannot be used: it has to be closed and prepared again. */
  get isStale(): boolean {
    return this.#isGone || this.#generation !== this.statement.generation;
  }

  answered(): void {}

  failed(error: ErrorFields | null): void {
    // Somebody has deallocated it by SQL, or nobody knows what happened.
    if (error === null || error.sqlstate === '26000') this.#isGone = true;
    // The type of its result has changed, which PostgreSQL never mends. Other servers will find the same.
    else if (isPlanChange(error)) this.statement.generation++;
  }

  skipped(): void {}
}

/** "cached plan must not change result type": a Bind or Describe was refused, and nothing has run. */
export function isPlanChange({ sqlstate, routine }: ErrorFields): boolean {
  return sqlstate === '0A000' && routine === 'RevalidateCachedQuery';
}
