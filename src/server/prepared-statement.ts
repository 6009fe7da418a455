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
  /** The server has it no more, or as something that cannot be used: it has to be closed and prepared again. */
  isStale = false;

  constructor(statement: PooledStatement, batch: number) {
    this.statement = statement;
    this.sentInBatch = batch;
  }

  answered(): void {}

  failed(error: ErrorFields | null): void {
    if (error === null || isStale(error)) this.isStale = true;
  }

  skipped(): void {}
}

/** 26000: somebody has deallocated it by SQL. Or a plan whose result type has changed, which PostgreSQL never mends. */
function isStale({ sqlstate, routine }: ErrorFields): boolean {
  return sqlstate === '26000' || (sqlstate === '0A000' && routine === 'RevalidateCachedQuery');
}
