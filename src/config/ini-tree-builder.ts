/**
 * Turns the text of a `pgbouncer.ini` into a tree with lines and columns, as PgBouncer's reader does (tried with 1.18).
 * It knows nothing of what the keys mean, and shows nothing of a line in its messages: it may hold a password.
 *
 * `;` and `#` begin a comment only where a line begins. A value ends with its line and is taken as it is, without the
 * space around it. Included files are found from the current folder, and go on in the section in which they are included.
 * Of two entries with one name the later counts; a main section that is begun again starts afresh.
 */
import { resolve } from 'node:path';
import type { ConfigProblem, Place } from './config-error.ts';
import { type MappingEntry, type MappingNode, quote } from './config-tree.ts';
import type { ProblemList } from './problem-list.ts';

/** Throws an error whose message says why the file cannot be read. */
export type FileReader = (path: string) => string;

/** The one whose settings have defaults, to which it returns when it is begun again. */
const MAIN_SECTION = 'pgbouncer';
const MAX_INCLUDE_DEPTH = 10;
/** A file that is included twice, and includes another twice, and so on, doubles the work at each level. */
const MAX_INCLUDES = 1000;
const MAX_TOTAL_CHARS = 1024 * 1024;

interface Section {
  readonly place: Place;
  readonly entries: Map<string, MappingEntry>;
}

interface Source {
  /** As it was written, for places. */
  readonly name: string;
  readonly path: string;
  readonly includedBy: Source | null;
  readonly depth: number;
}

export class IniTreeBuilder {
  readonly #problems: ProblemList;
  readonly #warnings: ConfigProblem[];
  readonly #readFile: FileReader;
  readonly #sections = new Map<string, Section>();
  #section: Section | null = null;
  #includesLeft = MAX_INCLUDES;
  #charsLeft = MAX_TOTAL_CHARS;

  constructor(problems: ProblemList, warnings: ConfigProblem[], readFile: FileReader) {
    this.#problems = problems;
    this.#warnings = warnings;
    this.#readFile = readFile;
  }

  build(text: string, fileName: string): MappingNode {
    this.#readSource(text, { name: fileName, path: resolve(fileName), includedBy: null, depth: 0 });
    const place: Place = Object.freeze({ file: fileName, line: 1, column: 1, path: null });
    const entries = [...this.#sections].map(([key, section]): MappingEntry => {
      const value: MappingNode = { kind: 'mapping', place: section.place, entries: [...section.entries.values()] };
      return { key, place: section.place, value };
    });
    return { kind: 'mapping', place, entries };
  }

  #readSource(text: string, source: Source): void {
    this.#charsLeft -= text.length;
    let line = 0;
    for (let start = 0; start < text.length; ) {
      line++;
      const newline = text.indexOf('\n', start);
      const end = newline === -1 ? text.length : newline;
      if (end > start) this.#readLine(text.slice(start, end), source, line);
      start = end + 1;
    }
  }

  #readLine(text: string, source: Source, line: number): void {
    let at = skipSpace(text, 0);
    const placeAt = (column: number): Place =>
      Object.freeze({ file: source.name, line, column: column + 1, path: null });
    // After a section's name the line may go on.
    while (text[at] === '[') {
      const end = text.indexOf(']', at);
      if (end === -1) {
        this.#problems.add(placeAt(at), 'the "[" of a section is never closed');
        return;
      }
      this.#begin(text.slice(at + 1, end), placeAt(at));
      at = skipSpace(text, end + 1);
    }
    if (at === text.length || text[at] === ';' || text[at] === '#') return;
    const include = /^%include[ \t]+(.*)$/s.exec(text.slice(at));
    if (include === null) this.#readEntry(text, at, placeAt);
    else this.#include(trimEnd(include[1]!), placeAt(at), source);
  }

  #begin(name: string, place: Place): void {
    const earlier = this.#sections.get(name);
    if (earlier !== undefined && name === MAIN_SECTION && earlier.entries.size > 0) {
      const { file, line } = earlier.place;
      const message = `[${name}] begins again: as in PgBouncer, what ${file}:${line} and below set is forgotten`;
      this.#warnings.push(Object.freeze({ ...place, message }));
    }
    const section = earlier !== undefined && name !== MAIN_SECTION ? earlier : { place, entries: new Map() };
    this.#sections.set(name, section);
    this.#section = section;
  }

  #readEntry(text: string, at: number, placeAt: (column: number) => Place): void {
    const key = readKey(text, at);
    const equals = key === null ? -1 : skipBlank(text, key.end);
    if (key === null || text[equals] !== '=') {
      const hint = 'names with other characters than A-Z a-z 0-9 _ . - * need double quotes';
      this.#problems.add(placeAt(at), `expected name = value, a [section], a comment or %include (${hint})`);
      return;
    }
    if (this.#section === null) {
      this.#problems.add(placeAt(at), `${quote(key.text)} stands before the first [section]`);
      return;
    }
    const start = skipBlank(text, equals + 1);
    const value = trimEnd(text.slice(start));
    const { entries } = this.#section;
    entries.delete(key.text);
    entries.set(key.text, {
      key: key.text,
      place: placeAt(at),
      value: { kind: 'scalar', place: placeAt(start), value, text: value },
    });
  }

  #include(name: string, place: Place, includedBy: Source): void {
    const source: Source = { name, path: resolve(name), includedBy, depth: includedBy.depth + 1 };
    const problem = this.#includeProblem(source);
    if (problem !== null) {
      this.#problems.add(place, problem);
      return;
    }
    this.#includesLeft--;
    try {
      this.#readSource(this.#readFile(name), source);
    } catch (error) {
      if (error instanceof RangeError || !(error instanceof Error)) throw error;
      this.#problems.add(place, error.message);
    }
  }

  #includeProblem(source: Source): string | null {
    for (let above = source.includedBy; above !== null; above = above.includedBy) {
      if (above.path === source.path) return `%include: ${quote(source.name)} would include itself`;
    }
    if (source.depth > MAX_INCLUDE_DEPTH) return `%include: more than ${MAX_INCLUDE_DEPTH} files deep`;
    if (this.#includesLeft === 0) return `%include: more than ${MAX_INCLUDES} times`;
    return this.#charsLeft < 0 ? `%include: more than ${MAX_TOTAL_CHARS} characters in all files` : null;
  }
}

/** PgBouncer's names, or any other in double quotes, in which `""` is a quote. */
function readKey(text: string, at: number): { readonly text: string; readonly end: number } | null {
  if (text[at] !== '"') {
    const [plain = ''] = /^[\w.*-]+/.exec(text.slice(at)) ?? [];
    return plain === '' ? null : { text: plain, end: at + plain.length };
  }
  const match = /^"((?:[^"]|"")*)"/.exec(text.slice(at));
  return match === null ? null : { text: match[1]!.replaceAll('""', '"'), end: at + match[0].length };
}

/** Space as in C. */
function isSpace(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 0x20 || (code >= 0x09 && code <= 0x0d);
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && isSpace(text, at)) at++;
  return at;
}

function skipBlank(text: string, start: number): number {
  let at = start;
  while (text[at] === ' ' || text[at] === '\t') at++;
  return at;
}

function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text, end - 1)) end--;
  return text.slice(0, end);
}
