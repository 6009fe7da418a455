/**
 * Cuts what a console client sends into statements, and a statement into words. It knows the quoting of SQL and no
 * command.
 */

export interface ConsoleWord {
  readonly text: string;
  /** `'…'` may only be a value, `"…"` and plain words also names. */
  readonly kind: 'plain' | 'quoted' | 'string' | 'symbol';
}

export interface ConsoleStatement {
  /** As it was written, for error messages. */
  readonly text: string;
  /** Null if it is no series of words: an open quote, or a character that no command has. */
  readonly words: readonly ConsoleWord[] | null;
}

/** Space and comments; block comments are not nested. */
const SPACE = /(?:\s+|--[^\n]*|\/\*[\s\S]*?\*\/)+/y;
const WORD = /"(?:[^"]|"")*"|'(?:[^']|'')*'|[\p{L}\p{N}_.$+-]+|[=,*]/uy;
/** What ends a statement that makes no sense: strings may hold semicolons all the same. */
const REST = /(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^;])*/y;

/** Statements without any word are left out. */
export function parseStatements(sql: string): readonly ConsoleStatement[] {
  const statements: ConsoleStatement[] = [];
  let at = 0;
  while (at < sql.length) {
    const start = at;
    let words: ConsoleWord[] | null = [];
    for (;;) {
      at += lengthOf(SPACE, sql, at);
      if (at >= sql.length || sql[at] === ';') break;
      const length = words === null ? 0 : lengthOf(WORD, sql, at);
      if (length === 0) {
        words = null;
        at += Math.max(1, lengthOf(REST, sql, at));
      } else {
        words?.push(wordOf(sql.slice(at, at + length)));
        at += length;
      }
    }
    if (words?.length !== 0) statements.push({ text: sql.slice(start, at).trim(), words });
    // The semicolon.
    at++;
  }
  return statements;
}

function lengthOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0].length ?? 0;
}

function wordOf(written: string): ConsoleWord {
  switch (written[0]) {
    case '"':
      return { kind: 'quoted', text: written.slice(1, -1).replaceAll('""', '"') };
    case "'":
      return { kind: 'string', text: written.slice(1, -1).replaceAll("''", "'") };
    case '=':
    case ',':
    case '*':
      return { kind: 'symbol', text: written };
    default:
      return { kind: 'plain', text: written };
  }
}
