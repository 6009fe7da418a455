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

/** Any object may be in the schema of temporary ones; `SELECT` for CREATE TABLE AS tells nothing. */
const CREATE = 'CREATE ';

/** The first letters of tags that are of interest, among them D for DEALLOCATE ALL and DISCARD ALL. */
const INITIALS: ReadonlySet<number> = new Set(
  [...TAGS.keys(), CREATE, 'DISCARD', 'RESET'].map((tag) => tag.charCodeAt(0)),
);
const C = 0x43;
const E = 0x45;
const L = 0x4c;
const R = 0x52;
const S = 0x53;
const ZERO = 0x30;

/** Tags are shorter than this where they are of interest. */
export const TAG_BYTES = 16;

/** Whether the tag at `buffer[at]` may be one that changes a session: most are not, and are known by their first letters. */
export function isTagOfInterest(buffer: Buffer, at: number): boolean {
  const first = buffer[at]!;
  if (!INITIALS.has(first)) return false;
  // SELECT is by far the most frequent one, DELETE comes next; of those with C there is COMMIT.
  return first === C ? buffer[at + 1] === R : !(buffer[at + 1] === E && buffer[at + 2] === L);
}

/**
 * Whether the tag at `buffer[at]` is `SELECT n`, of a command that has sent neither a row nor, in a simple Query (`isSimple`),
 * what its rows are like: then it has made a table, by CREATE TABLE AS or SELECT INTO. In the extended protocol a SELECT
 * of nothing looks alike.
 */
export function isTagOfTable(buffer: Buffer, at: number, isSimple: boolean): boolean {
  const isSelect = buffer[at] === S && buffer[at + 1] === E && buffer[at + 2] === L;
  return isSelect && (isSimple || buffer[at + 7] !== ZERO);
}

export class SessionDirt {
  readonly #states = new Set<SessionState>();
  /** A text has said that it makes a temporary object, and no tag that it has. */
  #temporaryAnnounced = false;

  get isClean(): boolean {
    return this.#states.size === 0;
  }

  /** Nothing but a new session undoes it. */
  get isForGood(): boolean {
    return [...this.#states].some((state) => RESETS[state] === null);
  }

  /** A text that makes something temporary is on its way. */
  announceTemporary(): void {
    this.#states.add('temporary');
    this.#temporaryAnnounced = true;
  }

  /** A table was made, nobody knows of which kind. */
  suspectTemporary(): void {
    this.#states.add('temporary');
  }

  /** A command has succeeded; says what it has left in the session for certain. */
  completed(tag: string): SessionState | null {
    if (tag === 'DISCARD ALL') this.#discarded();
    if (tag === 'DEALLOCATE ALL') this.#states.delete('prepared');
    if (tag.startsWith(CREATE)) return this.#created();
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
    this.#temporaryAnnounced = false;
  }

  /** It unloads nothing. */
  #discarded(): void {
    const { isForGood } = this;
    this.clear();
    if (isForGood) this.#states.add('library');
  }

  #created(): SessionState | null {
    this.#states.add('temporary');
    const isCertain = this.#temporaryAnnounced;
    this.#temporaryAnnounced = false;
    return isCertain ? 'temporary' : null;
  }
}
