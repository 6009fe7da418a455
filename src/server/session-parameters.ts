/**
 * The session parameters that follow a client from server to server. It compares and writes SQL; what a server has is
 * known from its ParameterStatus messages alone, never from a client's SQL.
 */

/** PostgreSQL's own spelling, as ParameterStatus has it. */
export const TRACKED_PARAMETERS = [
  'client_encoding',
  'DateStyle',
  'TimeZone',
  'standard_conforming_strings',
  'application_name',
] as const;

const INDEX: ReadonlyMap<string, number> = new Map(
  TRACKED_PARAMETERS.map((name, index) => [name.toLowerCase(), index]),
);

/** The place of a tracked parameter, whatever its case (PostgreSQL folds names), or -1. */
export function trackedIndex(name: string): number {
  return INDEX.get(name) ?? INDEX.get(name.toLowerCase()) ?? -1;
}

/** Values by `trackedIndex`; null where nothing is known yet. */
export class SessionParameters {
  readonly #values: (string | null)[];

  constructor(from?: SessionParameters) {
    this.#values = from === undefined ? TRACKED_PARAMETERS.map(() => null) : [...from.#values];
  }

  get(index: number): string | null {
    return this.#values[index] ?? null;
  }

  set(index: number, value: string): void {
    this.#values[index] = value;
  }

  /** Whether a server with `server`'s values can serve as it is. The one comparison on the data path. */
  matches(server: SessionParameters): boolean {
    const mine = this.#values;
    const theirs = server.#values;
    for (let i = 0; i < mine.length; i++) {
      if (mine[i] !== theirs[i] && mine[i] !== null) return false;
    }
    return true;
  }

  /** The places in which `server` differs. */
  differences(server: SessionParameters): number[] {
    const places: number[] = [];
    this.#values.forEach((value, index) => {
      if (value !== null && value !== server.#values[index]) places.push(index);
    });
    return places;
  }

  /** SET statements for `places`, all of them or none taking effect (one simple Query is one transaction). */
  setStatements(places: readonly number[]): string {
    const statements: string[] = [];
    for (const place of places) {
      const name = TRACKED_PARAMETERS[place]!;
      // `SET DateStyle = 'ISO'` keeps the order of day and month that somebody else had set. At login it would not.
      if (name === 'DateStyle') statements.push('RESET DateStyle');
      statements.push(`SET ${name} = ${quoteLiteral(this.#values[place] ?? '')}`);
    }
    return statements.join(';');
  }
}

/**
 * A string literal that means `text` whatever standard_conforming_strings, backslash_quote and client_encoding are: it
 * is pure ASCII, and what is not plain goes by escapes.
 */
export function quoteLiteral(text: string): string {
  if (/^[ -&(-[\]-~]*$/.test(text)) return `'${text}'`;
  let body = '';
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (character === "'" || character === '\\') body += character + character;
    else if (code >= 0x20 && code < 0x7f) body += character;
    else if (code < 0x20 || code === 0x7f) body += `\\x${code.toString(16).padStart(2, '0')}`;
    else if (code <= 0xffff) body += `\\u${code.toString(16).padStart(4, '0')}`;
    else body += `\\U${code.toString(16).padStart(8, '0')}`;
  }
  return `E'${body}'`;
}
