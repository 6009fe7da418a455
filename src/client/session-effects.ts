/**
 * What the statements of one client do to the sessions of servers that others use too: what is refused, what is marked as
 * harmless, and what the client is told, once, of state that will not last. It goes by what was peeked of a text and by
 * what servers tell of their sessions; how dirt is undone is the server's and the pool's business.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import type { Verdict } from '../protocol/message-framer.ts';
import { noticeResponse } from '../protocol/server-messages.ts';
import type { SessionState, StatementPeek } from '../protocol/statement-peek.ts';
import { ExcusedTags } from '../server/excused-tags.ts';
import { TO_CLIENT } from '../server/reply-entry.ts';
import type { ServerConnection } from '../server/server-connection.ts';

/** How people call what a session keeps. */
const STATE_WORDS: Readonly<Record<SessionState, string>> = {
  settings: 'SET',
  listen: 'LISTEN',
  prepared: 'PREPARE',
  cursors: 'a cursor WITH HOLD',
  temporary: 'a temporary table',
  library: 'LOAD',
};

export class SessionEffects {
  readonly #pool: Pool;
  /** What the client has been warned of, or is about to be; '' before. */
  #warned = '';

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Why a statement with `peek` is not allowed at all; null if it is. */
  refusalOf(peek: StatementPeek): ErrorReport | null {
    if (this.#pool.globals.serverDirtyPolicy !== 'error' || this.#ownsServer) return null;
    const state = this.#excused(peek) < peek.begins.length ? 'settings' : peek.makes;
    return state === null ? null : errors.sessionStateRefused(STATE_WORDS[state]);
  }

  /** `server` is about to be sent a Query or Execute of a statement of which `peek` tells something. */
  admit(server: ServerConnection, code: number, peek: StatementPeek): Verdict {
    // No command tag tells of those.
    if (peek.makes === 'temporary') server.dirt.announceTemporary();
    const excused = this.#excused(peek);
    return server.admit(code, TO_CLIENT, excused === 0 ? null : new ExcusedTags(excused));
  }

  /** The client has left `state` in a session. Whether a `warning` is due. */
  onDirty(state: SessionState): boolean {
    if (this.#warned !== '' || this.#ownsServer || this.#pool.globals.serverDirtyPolicy === 'keep') return false;
    this.#warned = STATE_WORDS[state];
    return true;
  }

  /** A notice of what `onDirty` has said. */
  warning(): Buffer {
    const message = `${this.#warned} does not outlast its transaction here`;
    const detail = 'Server connections are shared, and what a client leaves behind on one is undone.';
    const hint = 'Use pool_mode=session for it. This is said once in a session.';
    return noticeResponse('WARNING', { sqlstate: '01000', message, detail, hint });
  }

  get #ownsServer(): boolean {
    return this.#pool.settings.poolMode === 'session';
  }

  /** How many of the statements that a text begins with leave nothing behind. */
  #excused({ begins }: StatementPeek): number {
    const count = begins.findIndex((parameter) => parameter !== null && !this.#follows(parameter));
    return count === -1 ? begins.length : count;
  }

  /** Whether the parameter follows the client from server to server. */
  #follows(parameter: string): boolean {
    return this.#pool.parameterTable.find(parameter) >= 0;
  }
}
