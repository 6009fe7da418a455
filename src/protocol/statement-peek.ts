/**
 * What the first words of an SQL text tell about its effect on the session. It is no parser: what it does not recognise it
 * says nothing about, and whoever asks must be safe then. It knows PostgreSQL's comments, quotes and keywords, no more.
 */

export interface StatementPeek {
  /**
   * The SETs and DECLAREs that the text begins with: null for one that leaves nothing in the session, else the parameter
   * (folded) that it sets, which is harmless if servers report it.
   */
  readonly begins: readonly (string | null)[];
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
  begins: [],
  makes: null,
  mayDeallocate: false,
  deallocates: null,
});
const HARMLESS: StatementPeek = Object.freeze({ ...NOTHING, begins: [null] });

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
      return peekSets(words);
    case 'deallocate':
      return peekDeallocate(words);
    case 'discard':
      return { ...NOTHING, mayDeallocate: true };
    case 'listen':
      return { ...NOTHING, makes: 'listen' };
    case 'load':
      return { ...NOTHING, makes: 'library' };
    case 'prepare':
      // PREPARE TRANSACTION has a tag of its own.
      return words.next() === 'transaction' && !words.wasQuoted ? NOTHING : { ...NOTHING, makes: 'prepared' };
    case 'declare':
      return peekDeclare(words);
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

/** `SET …; SET …; …`, as clients begin their sessions. */
function peekSets(words: Words): StatementPeek {
  const begins: (string | null)[] = [];
  do {
    const peek = peekSet(words);
    if (peek.makes !== null) return { ...peek, begins };
    begins.push(...peek.begins);
  } while (words.skipStatement() && words.next() === 'set' && !words.wasQuoted);
  return { ...NOTHING, begins };
}

function peekSet(words: Words): StatementPeek {
  let word = words.nextKeyword();
  if (words.isCut()) return NOTHING;
  if (word === 'local' || word === 'constraints' || word === 'transaction') {
    return HARMLESS;
  }
  if (word === 'session') {
    word = words.nextKeyword();
    if (words.isCut()) return NOTHING;
    if (word === 'authorization' || word === 'characteristics') return { ...NOTHING, makes: 'settings' };
    if (word === 'transaction') return HARMLESS;
  }
  // In quotes, or with a dot behind it, it is no keyword.
  const name = word === null ? words.name() : (PARAMETERS.get(word) ?? word);
  if (words.isCut()) return NOTHING;
  if (name === null || folded(name) === 'role') return { ...NOTHING, makes: 'settings' };
  return { ...NOTHING, begins: [name] };
}

function peekDeallocate(words: Words): StatementPeek {
  let word = words.next();
  let isAll = word === 'all' && !words.wasQuoted;
  if (word === 'prepare' && !words.wasQuoted) {
    const name = words.next();
    isAll = name === 'all' && !words.wasQuoted;
    word = name ?? word;
  }
  const isName = word !== null && !isAll && word.length <= MAX_NAME_BYTES && words.isAtEnd();
  return { ...NOTHING, mayDeallocate: true, deallocates: isName ? word : null };
}

/** `DECLARE name [option …] CURSOR [WITH HOLD | WITHOUT HOLD] FOR`. What does not hold ends with its transaction. */
function peekDeclare(words: Words): StatementPeek {
  words.next(); // name
  let word = words.next();
  while (word !== null && CURSOR_OPTIONS.has(word)) word = words.next();
  if (word !== 'cursor') return NOTHING;
  word = words.next();
  if (word === 'with' && words.next() === 'hold') return { ...NOTHING, makes: 'cursors' };
  return (word === 'for' || word === 'without') && !words.isCut() ? HARMLESS : NOTHING;
}

function peekCreate(words: Words): StatementPeek {
  let word = words.next();
  if (word === 'or') {
    words.next(); // replace
    word = words.next();
  }
  if (word === 'local' || word === 'global') word = words.next();
  // What may be temporary for its schema or search_path only, nothing is said of: its tag counts.
  const isTemporary = (word === 'temp' || word === 'temporary') && !words.dropsOnCommit();
  return isTemporary ? { ...NOTHING, makes: 'temporary' } : NOTHING;
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
    this.#skipEmpty();
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

  /** The next word if it can be a keyword: it is not in quotes, and no dot makes it part of a longer name. */
  nextKeyword(): string | null {
    const from = this.#at;
    const word = this.next();
    const isKeyword = word !== null && !this.wasQuoted && !word.includes('.') && !this.#isDotNext();
    if (isKeyword) return word;
    this.#at = from;
    return null;
  }

  /** The next name; null if there is none, or one in several parts of which any is in quotes or stands apart. */
  name(): string | null {
    const name = this.next();
    return this.#isDotNext() || name?.endsWith('.') === true ? null : name;
  }

  /** Nothing but this statement can stand in the text: there is no semicolon before its end, and it is seen to its end. */
  isSingle(): boolean {
    return this.#isWhole && !SECOND_STATEMENT.test(this.#sql.slice(this.#at));
  }

  /** The text goes on behind what is seen of it, so that the last word may be a longer one. */
  isCut(): boolean {
    this.#skipBlank();
    return !this.#isWhole && this.#at >= this.#sql.length;
  }

  /** Goes on behind the statement's semicolon, if it is certain which that is. */
  skipStatement(): boolean {
    REST_OF_STATEMENT.lastIndex = this.#at;
    const rest = REST_OF_STATEMENT.exec(this.#sql);
    if (rest === null) return false;
    this.#at += rest[0].length;
    this.#skipEmpty();
    return true;
  }

  /** The statement has no word more, and the text no other statement. */
  isAtEnd(): boolean {
    this.#skipBlank();
    return this.#isWhole && NOTHING_MORE.test(this.#sql.slice(this.#at));
  }

  /** `ON COMMIT DROP`, and no quote or comment before it that could make it something else. */
  dropsOnCommit(): boolean {
    return this.isSingle() && DROPS_ON_COMMIT.test(this.#sql.slice(this.#at));
  }

  get #isWhole(): boolean {
    return this.#sql.length < PEEK_BYTES;
  }

  #isDotNext(): boolean {
    this.#skipBlank();
    return this.#sql[this.#at] === '.';
  }

  /** Empty statements come to nothing. */
  #skipEmpty(): void {
    this.#skipBlank();
    while (this.#sql[this.#at] === ';') {
      this.#at++;
      this.#skipBlank();
    }
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

/** PostgreSQL's white space; JavaScript's has more. */
const SPACE = String.raw`[ \t\n\r\f\v]`;
const WORD = /[A-Za-z_\u0080-\u00ff][\w$\u0080-\u00ff.]*/y;
const QUOTED = /"(?:[^"]|"")+"/y;
const BLANK = new RegExp(String.raw`(?:${SPACE}|--[^\n\r]*)*`, 'y');
const COMMENT_MARK = /\/\*|\*\//g;
const SECOND_STATEMENT = new RegExp(`;${SPACE}*[^ \\t\\n\\r\\f\\v;]`);
/** What a backslash or a dollar sign means depends on more than is seen here. */
const REST_OF_STATEMENT = /(?:[^;'"$\\/-]|'[^'\\]*'|"[^"]*"|-(?!-)|\/(?!\*))*;/y;
const NOTHING_MORE = new RegExp(`^(?:;|${SPACE})*$`);
const DROPS_ON_COMMIT = /^(?:(?!--|\/\*)[^'"$])*\bon\s+commit\s+drop\b/i;
/** What is written in words of its own is one of these parameters. */
const PARAMETERS: ReadonlyMap<string, string> = new Map([
  ['time', 'timezone'],
  ['names', 'client_encoding'],
  ['schema', 'search_path'],
]);
const CURSOR_OPTIONS: ReadonlySet<string> = new Set(['binary', 'insensitive', 'asensitive', 'scroll', 'no']);
/** PostgreSQL cuts longer ones (NAMEDATALEN), and finds another statement or none. */
const MAX_NAME_BYTES = 63;
