/**
 * Every statement that a client or a server of this process refers to, by text *and* parameter types: the same text with
 * other types is another statement. Clients share them; what nobody refers to any more is forgotten.
 */
import { PooledStatement } from './pooled-statement.ts';

export class StatementRegistry {
  readonly #statements = new Map<string, PooledStatement>();
  #lastNumber = 0;

  get size(): number {
    return this.#statements.size;
  }

  /** The statement with `body` (see `PooledStatement`), with one reference more. */
  acquire(body: string): PooledStatement {
    let statement = this.#statements.get(body);
    if (statement === undefined) {
      this.#lastNumber++;
      statement = new PooledStatement(this.#lastNumber, body);
      this.#statements.set(body, statement);
    }
    statement.references++;
    return statement;
  }

  /** The statement with `body`, if anybody refers to it. */
  find(body: string): PooledStatement | null {
    return this.#statements.get(body) ?? null;
  }

  release(statement: PooledStatement): void {
    statement.references--;
    if (statement.references === 0) this.#statements.delete(statement.body);
  }
}
