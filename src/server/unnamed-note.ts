/**
 * What becomes of the unnamed statement with a Parse or Close of it: PostgreSQL drops the old one before it looks at the
 * new one, so that also a Parse that fails leaves none.
 */

import type { ReplyNote } from './note-queue.ts';
import type { PreparedStatements } from './prepared-statements.ts';

/** The client, or whoever else keeps an unnamed statement. */
export interface UnnamedKeeper {
  /** The body of a Parse behind the (empty) name, one character for each byte; null if there is none. */
  unnamed: string | null;
}

export class UnnamedNote implements ReplyNote {
  readonly #body: string | null;
  readonly #client: UnnamedKeeper;
  readonly #server: PreparedStatements;

  /** `body`: null for a Close. */
  constructor(body: string | null, client: UnnamedKeeper, server: PreparedStatements) {
    this.#body = body;
    this.#client = client;
    this.#server = server;
  }

  answered(): void {
    this.#client.unnamed = this.#body;
    this.#server.unnamed = this.#body;
  }

  failed(): void {
    this.#client.unnamed = null;
    this.#server.unnamed = null;
  }

  skipped(): void {}
}
