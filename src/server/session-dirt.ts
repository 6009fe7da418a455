/**
 * What clients have left in one server's session that the next client must not find, and the smallest SQL that undoes it.
 * It judges command tags; what the texts said before (`protocol/statement-peek.ts`) is told to it.
 */
import type { SessionState } from '../protocol/statement-peek.ts';

/** What undoes it; null where nothing does but a new session. */
const RESETS: Readonly<Record<SessionState, string | null>> = {
  // As DISCARD ALL does: RESET ALL leaves role and session authorization as they are.
  settings: 'RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL',
  cursors: 'CLOSE ALL',
  listen: 'UNLISTEN *',
  prepared: 'DEALLOCATE ALL',
  temporary: 'DISCARD TEMP',
  library: null,
};

const TAGS: ReadonlyMap<string, SessionState> = new Map([
  ['SET', 'settings'],
  ['LISTEN', 'listen'],
  ['PREPARE', 'prepared'],
  ['DECLARE CURSOR', 'cursors'],
  ['LOAD', 'library'],
]);

/** The first letters of tags that are of interest, among them D for DEALLOCATE ALL and DISCARD ALL. */
const INITIALS: ReadonlySet<number> = new Set([...TAGS.keys(), 'DISCARD', 'RESET'].map((tag) => tag.charCodeAt(0)));
const E = 0x45;
const L = 0x4c;

/** Tags are shorter than this where they are of interest. */
export const TAG_BYTES = 16;

/** Whether the tag at `buffer[at]` may be one that changes a session: most are not, and are known by their first letters. */
export function isTagOfInterest(buffer: Buffer, at: number): boolean {
  const first = buffer[at]!;
  if (!INITIALS.has(first)) return false;
  // SELECT is by far the most frequent one, DELETE comes next.
  return !(buffer[at + 1] === E && buffer[at + 2] === L);
}

export class SessionDirt {
  readonly #states = new Set<SessionState>();

  get isClean(): boolean {
    return this.#states.size === 0;
  }

  /** Nothing but a new session undoes it. */
  get isForGood(): boolean {
    return [...this.#states].some((state) => RESETS[state] === null);
  }

  has(state: SessionState): boolean {
    return this.#states.has(state);
  }

  add(state: SessionState): void {
    this.#states.add(state);
  }

  /** A command has succeeded; says what it has left in the session. */
  completed(tag: string): SessionState | null {
    if (tag === 'DISCARD ALL') this.#states.clear();
    if (tag === 'DEALLOCATE ALL') this.#states.delete('prepared');
    const state = TAGS.get(tag) ?? null;
    if (state !== null) this.#states.add(state);
    return state;
  }

  /** What has to be run before anybody else gets the session. */
  resetQuery(): string {
    return [...this.#states].map((state) => RESETS[state]).join(';');
  }

  /** That has been run, or is about to be. */
  clear(): void {
    this.#states.clear();
  }
}
