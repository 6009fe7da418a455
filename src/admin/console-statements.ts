/**
 * The extended protocol's statements and portals of one console: what was parsed, what was bound, and what of a result
 * has been sent. It knows no command and sends nothing.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import type { CellValue, Column } from '../protocol/row-messages.ts';
import type { ResolvedCommand } from './command-resolver.ts';

/** Null stands for a statement without words. */
export type Prepared = ResolvedCommand | null;

export interface Portal {
  readonly command: Prepared;
  /** As Bind gave them. */
  readonly formats: readonly number[];
  /** What Execute has not sent yet; null before the first one. */
  rows: { readonly columns: readonly Column[]; readonly values: readonly CellValue[][] } | null;
}

/** Of each kind: more than any driver's cache has. */
const MAX_NAMED = 1000;

export class ConsoleStatements {
  readonly #statements = new Map<string, Prepared>();
  readonly #portals = new Map<string, Portal>();

  /** What was wrong, or null. As in PostgreSQL, only the unnamed one can be replaced. */
  parse(name: string, command: Prepared): ErrorReport | null {
    if (name !== '' && this.#statements.has(name)) return errors.statementExists(name);
    if (this.#statements.size >= MAX_NAMED) return errors.tooManyStatements(MAX_NAMED);
    this.#statements.set(name, command);
    return null;
  }

  bind(name: string, statement: string, formats: readonly number[]): ErrorReport | null {
    const command = this.#statements.get(statement);
    if (command === undefined) return errors.noSuchStatement(statement);
    if (this.#portals.size >= MAX_NAMED) return errors.tooManyStatements(MAX_NAMED);
    this.#portals.set(name, { command, formats, rows: null });
    return null;
  }

  /** Undefined if there is none of that name. */
  statement(name: string): Prepared | undefined {
    return this.#statements.get(name);
  }

  portal(name: string): Portal | undefined {
    return this.#portals.get(name);
  }

  closeStatement(name: string): void {
    this.#statements.delete(name);
  }

  closePortal(name: string): void {
    this.#portals.delete(name);
  }

  /** Portals end with the transaction, which here is what Sync ends. */
  endPortals(): void {
    this.#portals.clear();
  }
}
