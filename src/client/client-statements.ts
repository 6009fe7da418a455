/**
 * The prepared statements of one client: its names, and what it means by them. What was sent counts as done; notes take
 * back what the server has refused or skipped. It knows no server and no message.
 */
import type { ReplyNote } from '../server/note-queue.ts';
import type { PooledStatement } from '../server/pooled-statement.ts';
import type { StatementRegistry } from '../server/statement-registry.ts';
import type { UnnamedKeeper } from '../server/unnamed-note.ts';
import { NamedStatement } from './named-statement.ts';

/** PostgreSQL looks at so many bytes of a statement's name (NAMEDATALEN - 1): longer ones that begin alike are one. */
const SIGNIFICANT_NAME_BYTES = 63;

export class ClientStatements implements UnnamedKeeper {
  unnamed: string | null = null;
  readonly #registry: StatementRegistry;
  readonly #named = new Map<string, NamedStatement>();
  #bytes = 0;
  /** Closes that were sent and not answered, and in which batch the last one was. */
  #closing = 0;
  #closingBatch = 0;
  #disposed = false;

  constructor(registry: StatementRegistry) {
    this.#registry = registry;
  }

  get size(): number {
    return this.#named.size;
  }

  /** Of names and texts, as if none were shared. */
  get bytes(): number {
    return this.#bytes;
  }

  /** `name`: its bytes as characters. */
  find(name: string): NamedStatement | null {
    return this.#named.get(significant(name)) ?? null;
  }

  /** The statement with `body`, if anybody has it. */
  registered(body: string): PooledStatement | null {
    return this.#registry.find(body);
  }

  /** The Parse that gives `body` the name `name` is about to be sent, as part of `batch`. */
  add(name: string, body: string, batch: number): NamedStatement {
    const named = new NamedStatement(this, significant(name), this.#registry.acquire(body), batch);
    this.#insert(named);
    return named;
  }

  /** A Close of `name`, which may be nobody's, is about to be answered, as part of `batch`; the note is for that. */
  closing(name: string, batch: number): ReplyNote {
    const named = this.find(name);
    if (named !== null) this.#remove(named);
    this.#closing++;
    this.#closingBatch = batch;
    const closed = (): void => {
      this.#closing--;
      if (named !== null) this.#registry.release(named.statement);
    };
    const restore = (): void => {
      if (named === null || this.#disposed) {
        closed();
        return;
      }
      this.#closing--;
      this.#insert(named);
    };
    return { answered: closed, failed: restore, skipped: restore };
  }

  /** Whether a Close of a batch before `batch` is not answered: it may turn out that nothing was closed. */
  isClosingBefore(batch: number): boolean {
    return this.#closing > 0 && this.#closingBatch !== batch;
  }

  /** The server has refused or skipped the Parse of `named`. */
  forget(named: NamedStatement): void {
    if (this.#named.get(named.name) !== named) return;
    this.#remove(named);
    this.#registry.release(named.statement);
  }

  /** The client has deallocated all that it had. What is on its way comes afterwards. */
  deallocatedAll(): void {
    for (const named of this.#named.values()) if (named.sentInBatch === null) this.forget(named);
  }

  /** What the client calls the statement that servers know as `pooledName`; null if it is none of its. */
  nameOf(pooledName: string): string | null {
    for (const named of this.#named.values()) if (named.statement.name === pooledName) return named.name;
    return null;
  }

  /** The client is gone. */
  dispose(): void {
    this.#disposed = true;
    for (const named of this.#named.values()) this.forget(named);
  }

  #insert(named: NamedStatement): void {
    this.#named.set(named.name, named);
    this.#bytes += bytesOf(named);
  }

  #remove(named: NamedStatement): void {
    this.#named.delete(named.name);
    this.#bytes -= bytesOf(named);
  }
}

function significant(name: string): string {
  return name.length > SIGNIFICANT_NAME_BYTES ? name.slice(0, SIGNIFICANT_NAME_BYTES) : name;
}

function bytesOf({ name, statement }: NamedStatement): number {
  return name.length + statement.body.length;
}
