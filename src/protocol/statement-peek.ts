/**
 * What the first words of an SQL text tell about its effect on the session. It is no parser: what it does not recognise it
 * says nothing about, and whoever asks must be safe then. It knows PostgreSQL's comments, quotes and keywords, no more.
 */

export interface StatementPeek {
  /** It leaves nothing in the session that is not there already; only said of a text that is one statement. */
  readonly isHarmless: boolean;
  /** It is one `SET` of this parameter (folded), whose effect lasts: harmless if servers report that parameter. */
  readonly sets: string | null;
  /** Session state that it makes, also where its command tag will not tell. */
  readonly makes: SessionState | null;
  /** It may do away with prepared statements. */
  readonly mayDeallocate: boolean;
  /** It is one `DEALLOCATE` of this statement (folded as PostgreSQL folds it). */
  readonly deallocates: string | null;
}

/** What a session can keep from one transaction to the next, besides parameters that servers report. */
export type SessionState = 'settings' | 'listen' | 'prepared' | 'cursors' | 'temporary' | 'library';

/** Nothing is known. */
export const NOTHING: StatementPeek = Object.freeze({
  isHarmless: false,
  sets: null,
  makes: null,
  mayDeallocate: false,
  deallocates: null,
});
const HARMLESS: StatementPeek = Object.freeze({ ...NOTHING, isHarmless: true });

/** How much of a text is looked at. */
export const PEEK_BYTES = 1024;

/**
 * `sql`: the beginning of a text, up to its end or PEEK_BYTES, one character for each byte. It may go on behind a NUL with
 * something else.
 */
export function peekStatement(sql: string): StatementPeek {
  const words = new Words(sql);
  switch (words.next()) {
    case 'set':
      return peekSet(words);
    case 'deallocate':
      return peekDeallocate(words);
    case 'discard':
      return { ...NOTHING, mayDeallocate: true };
    case 'listen':
      return { ...NOTHING, makes: 'listen' };
    case 'load':
      return { ...NOTHING, makes: 'library' };
    case 'prepare':
      return words.next() === 'transaction' ? HARMLESS : { ...NOTHING, makes: 'prepared' };
    case 'declare':
      // What does not hold ends with its transaction.
      if (/\bwith\s+hold\b/i.test(sql) || sql.length >= PEEK_BYTES) return { ...NOTHING, makes: 'cursors' };
      return words.isSingle() ? HARMLESS : NOTHING;
    case 'create':
      return peekCreate(words);
    default:
      return NOTHING;
  }
}

/**
 * Whether the text that begins at `buffer[at]`, and is here up to `end`, can tell anything: most begin with a word that
 * cannot, and are known by their first letters.
 */
export function isWorthPeeking(buffer: Buffer, at: number, end: number): boolean {
  if (at >= end) return true;
  const first = buffer[at]! | 0x20;
  switch (first) {
    case 0x73: // s: SET, not SELECT
      return at + 2 >= end || (buffer[at + 2]! | 0x20) === 0x74;
    case 0x64: // d: DEALLOCATE, DISCARD, DECLARE, not DELETE or DROP
      return at + 2 >= end || DE_DI.has(buffer[at + 2]! | 0x20);
    case 0x6c: // l: LISTEN, LOAD
    case 0x70: // p: PREPARE
    case 0x63: // c: CREATE
      return true;
    default:
      // White space, a comment, an empty statement.
      return buffer[at]! <= 0x20 || buffer[at] === 0x2d || buffer[at] === 0x2f || buffer[at] === 0x3b;
  }
}

/** The third letters of DEALLOCATE, DISCARD and DECLARE, in lower case. */
const DE_DI: ReadonlySet<number> = new Set([0x61, 0x73, 0x63]);

function peekSet(words: Words): StatementPeek {
  let word = words.next();
  if (word === 'local' || word === 'constraints' || word === 'transaction') {
    return words.isSingle() ? HARMLESS : NOTHING;
  }
  if (word === 'session') {
    word = words.next();
    if (word === 'authorization' || word === 'characteristics') return { ...NOTHING, makes: 'settings' };
  }
  const name =
    word === 'time' ? 'timezone' : word === 'names' ? 'client_encoding' : word === 'schema' ? 'search_path' : word;
  if (name === null || name === 'role') return { ...NOTHING, makes: 'settings' };
  return words.isSingle() ? { ...NOTHING, sets: name } : NOTHING;
}

function peekDeallocate(words: Words): StatementPeek {
  let word = words.next();
  if (word === 'prepare') word = words.next() ?? word;
  const isAll = word === 'all' && !words.wasQuoted;
  const deallocates = isAll || word === null || !words.isSingle() ? null : word;
  return { ...NOTHING, mayDeallocate: true, deallocates };
}

function peekCreate(words: Words): StatementPeek {
  let word = words.next();
  if (word === 'or') {
    words.next(); // replace
    word = words.next();
  }
  if (word === 'local' || word === 'global') word = words.next();
  return word === 'temp' || word === 'temporary' ? { ...NOTHING, makes: 'temporary' } : NOTHING;
}

/** Reads words from the beginning of a text: keywords and names, folded; names in double quotes as they are. */
class Words {
  /** The last word stood in double quotes. */
  wasQuoted = false;
  readonly #sql: string;
  #at = 0;

  constructor(sql: string) {
    const nul = sql.indexOf('\0');
    this.#sql = nul === -1 ? sql : sql.slice(0, nul);
    // Empty statements come to nothing.
    this.#skipBlank();
    while (this.#sql[this.#at] === ';') {
      this.#at++;
      this.#skipBlank();
    }
  }

  next(): string | null {
    this.#skipBlank();
    this.wasQuoted = this.#sql[this.#at] === '"';
    const pattern = this.wasQuoted ? QUOTED : WORD;
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#sql)?.[0];
    if (found === undefined) return null;
    this.#at += found.length;
    return this.wasQuoted ? found.slice(1, -1).replaceAll('""', '"') : folded(found);
  }

  /** Nothing but this statement can stand in the text: there is no semicolon before its end, and it is seen to its end. */
  isSingle(): boolean {
    return this.#sql.length < PEEK_BYTES && !/;\s*[^\s;]/.test(this.#sql.slice(this.#at));
  }

  #skipBlank(): void {
    for (;;) {
      BLANK.lastIndex = this.#at;
      this.#at += BLANK.exec(this.#sql)?.[0].length ?? 0;
      if (this.#sql.startsWith('/*', this.#at)) this.#skipComment();
      else return;
    }
  }

  /** PostgreSQL's comments nest. */
  #skipComment(): void {
    let depth = 0;
    do {
      COMMENT_MARK.lastIndex = this.#at;
      const mark = COMMENT_MARK.exec(this.#sql);
      if (mark === null) {
        this.#at = this.#sql.length;
        return;
      }
      depth += mark[0] === '/*' ? 1 : -1;
      this.#at = mark.index + 2;
    } while (depth > 0);
  }
}

/** As PostgreSQL folds in encodings of several bytes: letters of ASCII alone. */
function folded(word: string): string {
  return word.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

const WORD = /[A-Za-z_\u0080-\u00ff][\w$\u0080-\u00ff.]*/y;
const QUOTED = /"(?:[^"]|"")+"/y;
const BLANK = /(?:\s|--[^\n\r]*)*/y;
const COMMENT_MARK = /\/\*|\*\//g;
