/**
 * What is prepared on one server, as far as we have prepared it: the statements by their use, and the unnamed one. What
 * was sent counts as done; notes take back what the server has refused or skipped. It sends nothing.
 */
import { LinkedList } from '../base/linked-list.ts';
import type { ReplyNote } from './note-queue.ts';
import type { PooledStatement } from './pooled-statement.ts';
import { PreparedStatement } from './prepared-statement.ts';
import type { StatementRegistry } from './statement-registry.ts';

export class PreparedStatements {
  /** The body of the unnamed statement (see `UnnamedNote`); null if there is none. */
  unnamed: string | null = null;
  readonly #registry: StatementRegistry;
  readonly #prepared = new Map<PooledStatement, PreparedStatement>();
  /** The one that was not used for longest is first. */
  readonly #byUse = new LinkedList<PreparedStatement>();

  /** Closes that were sent and not answered, and in which batch the last one was. */
  #closing = 0;
  #closingBatch = 0;

  constructor(registry: StatementRegistry) {
    this.#registry = registry;
  }

  get size(): number {
    return this.#prepared.size;
  }

  find(statement: PooledStatement): PreparedStatement | null {
    return this.#prepared.get(statement) ?? null;
  }

  /** Whether the server has said that it has `statement`. */
  has(statement: PooledStatement): boolean {
    const prepared = this.find(statement);
    return prepared !== null && prepared.sentInBatch === null && !prepared.isStale;
  }

  use(prepared: PreparedStatement): void {
    if (this.#byUse.last !== prepared) this.#byUse.push(prepared);
  }

  /** The one to give up for another. */
  get leastUsed(): PreparedStatement | null {
    return this.#byUse.first;
  }

  /** A Parse of `statement` is about to be sent, as part of `batch`. */
  prepare(statement: PooledStatement, batch: number): PreparedStatement {
    const prepared = new PreparedStatement(statement, batch);
    statement.references++;
    this.#insert(prepared);
    return prepared;
  }

  /** For the Parse of `prepared`. */
  preparing(prepared: PreparedStatement): ReplyNote {
    const forget = (): void => {
      this.#remove(prepared);
      this.#registry.release(prepared.statement);
    };
    return {
      answered: () => {
        prepared.sentInBatch = null;
      },
      failed: forget,
      skipped: forget,
    };
  }

  /** A Close of `prepared` is about to be sent, as part of `batch`; the note is for that. */
  closing(prepared: PreparedStatement, batch: number): ReplyNote {
    this.#remove(prepared);
    this.#closing++;
    this.#closingBatch = batch;
    const closed = (): void => {
      this.#closing--;
      this.#registry.release(prepared.statement);
    };
    return {
      answered: closed,
      failed: closed,
      skipped: () => {
        this.#closing--;
        this.#insert(prepared);
      },
    };
  }

  /** Whether a Close of a batch before `batch` is not answered: it may turn out that nothing was closed. */
  isClosingBefore(batch: number): boolean {
    return this.#closing > 0 && this.#closingBatch !== batch;
  }

  /** The server has deallocated all that it had. What is on its way to it comes afterwards. */
  deallocatedAll(): void {
    for (const prepared of this.#prepared.values()) if (prepared.sentInBatch === null) this.#forget(prepared);
  }

  /** The server is gone. */
  dispose(): void {
    for (const prepared of this.#prepared.values()) this.#forget(prepared);
    this.unnamed = null;
  }

  #forget(prepared: PreparedStatement): void {
    this.#remove(prepared);
    this.#registry.release(prepared.statement);
  }

  #insert(prepared: PreparedStatement): void {
    this.#prepared.set(prepared.statement, prepared);
    this.#byUse.push(prepared);
  }

  #remove(prepared: PreparedStatement): void {
    if (this.#prepared.get(prepared.statement) === prepared) this.#prepared.delete(prepared.statement);
    prepared.list?.remove(prepared);
  }
}
