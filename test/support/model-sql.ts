/** The few statements that the model of PostgreSQL understands. It reads text and runs nothing. */
import { SqlError } from './model-database.ts';

export interface Statement {
  readonly verb: Verb;
  /** Its argument, if it has one. */
  readonly text: string;
  /** SET: the value. */
  readonly value: string;
  /** SET CONFIG: what its calls set, or reset to what the session began with (null). */
  readonly settings: readonly { readonly name: string; readonly value: string | null }[];
  /** ROWS, COPY OUT: how many. */
  readonly count: number;
  /** The names of the columns that it returns; null for none. */
  readonly columns: readonly string[] | null;
}

const VERBS = [
  'BEGIN',
  'COMMIT',
  'ROLLBACK',
  /** `INSERT token`: visible to others as soon as it is committed. */
  'INSERT',
  /** A row that fails the commit, as a deferred constraint does. */
  'DEFERRED',
  /** The visible tokens, a row each. */
  'TOKENS',
  /** `SELECT text`: one row. */
  'SELECT',
  /** `STAR text`: one row, with one column for each ALTER so far. A plan of it does not outlast an ALTER. */
  'STAR',
  'ALTER',
  /** `ROWS count text`: so many rows. */
  'ROWS',
  /** `FAIL sqlstate`: an error while it runs. */
  'FAIL',
  /** Runs until `finish()` or a cancel. */
  'SLEEP',
  'SET',
  /** `SELECT pg_catalog.set_config('name','value',false) IS NULL,…` */
  'SET CONFIG',
  'SHOW',
  'RESET',
  'DISCARD',
  /** `DEALLOCATE name` or `DEALLOCATE ALL`. */
  'DEALLOCATE',
  'LISTEN',
  /** What makes or undoes session state that is not modelled; its text is its tag. */
  'SESSION',
  'COPY IN',
  'COPY OUT',
  'COPY REFUSED',
  'NOTICE',
  'PID',
  /** `FATAL sqlstate`: the backend says so and goes. */
  'FATAL',
  /** The backend goes without a word. */
  'CRASH',
] as const;
type Verb = (typeof VERBS)[number];

const SYNONYMS: ReadonlyMap<string, Verb> = new Map([
  ['START', 'BEGIN'],
  ['END', 'COMMIT'],
  ['ABORT', 'ROLLBACK'],
]);

const SESSION_TAGS: readonly (readonly [RegExp, string])[] = [
  [/^SET (?:LOCAL|ROLE) \w/i, 'SET'],
  [/^RESET (?:SESSION AUTHORIZATION|ROLE)$/i, 'RESET'],
  [/^UNLISTEN \*$/i, 'UNLISTEN'],
  [/^LOAD \w/i, 'LOAD'],
  [/^PREPARE TRANSACTION \w/i, 'PREPARE TRANSACTION'],
  [/^PREPARE \w/i, 'PREPARE'],
  [/^DECLARE \w/i, 'DECLARE CURSOR'],
  [/^CLOSE ALL$/i, 'CLOSE CURSOR ALL'],
  [/^CREATE (?:TEMP )?TABLE \w/i, 'CREATE TABLE'],
  [/^DISCARD TEMP$/i, 'DISCARD TEMP'],
];

const COLUMNS: Readonly<Partial<Record<Verb, readonly string[]>>> = {
  TOKENS: ['token'],
  SELECT: ['?column?'],
  STAR: ['a'],
  ROWS: ['row'],
  SHOW: ['setting'],
  PID: ['pg_backend_pid'],
};

/** Throws 42601 for what is not understood, before anything of it runs. */
export function statementsOf(sql: string): Statement[] {
  return splitStatements(sql)
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map(parseStatement);
}

/** At semicolons outside of quotes. */
function splitStatements(sql: string): string[] {
  return sql.match(/(?:E?'(?:[^'\\]|''|\\.)*'|[^;'])+/g) ?? [];
}

function parseStatement(text: string): Statement {
  const [word = '', rest = ''] = /^(\S+)\s*([^]*)$/.exec(text)?.slice(1) ?? [];
  const upper = word.toUpperCase();
  const name = upper === 'COPY' ? `COPY ${rest.split(/\s/)[0]?.toUpperCase()}` : upper;
  if (rest.startsWith('pg_catalog.set_config(')) return parseSetConfig(rest);
  const tag = SESSION_TAGS.find(([pattern]) => pattern.test(text))?.[1];
  if (tag !== undefined) return { verb: 'SESSION', text: tag, value: '', settings: [], count: 0, columns: null };
  const verb = VERBS.find((known) => known === name) ?? SYNONYMS.get(name);
  if (verb === undefined) throw new SqlError('42601', `syntax error at or near "${word}"`);
  const base = { verb, text: rest, value: '', settings: [], count: 0, columns: COLUMNS[verb] ?? null };
  switch (verb) {
    case 'ROWS': {
      const [, count = '1', row = 'x'] = /^(\d+)\s*([^]*)$/.exec(rest) ?? [];
      return { ...base, count: Number(count), text: row };
    }
    case 'COPY OUT':
      return { ...base, count: Number(rest.split(/\s+/)[1] ?? '2') };
    case 'SET': {
      const [, parameter = '', value = ''] = /^(\w+)\s*(?:=|TO)\s*([^]*)$/i.exec(rest) ?? [];
      if (parameter === '') throw new SqlError('42601', 'syntax error in SET');
      return { ...base, text: parameter, value: literalValue(value) };
    }
    default:
      return base;
  }
}

const LITERAL = String.raw`E'(?:[^'\\]|''|\\[^])*'|'(?:[^']|'')*'`;
const CALL = String.raw`pg_catalog\.set_config\((${LITERAL}),(${LITERAL}|NULL),false\) IS NULL`;

function parseSetConfig(text: string): Statement {
  if (!new RegExp(`^${CALL}(?:,${CALL})*$`).test(text)) throw new SqlError('42601', 'syntax error in set_config');
  const settings = [...text.matchAll(new RegExp(CALL, 'g'))].map(([, name = '', value = '']) => {
    return { name: literalValue(name), value: value === 'NULL' ? null : literalValue(value) };
  });
  if (settings.length > 1664) throw new SqlError('54011', 'target lists can have at most 1664 entries');
  return { verb: 'SET CONFIG', text, value: '', settings, count: 0, columns: settings.map(() => '?column?') };
}

/** What a string literal means: '…' with doubled quotes, or E'…' with escapes. */
function literalValue(literal: string): string {
  const plain = /^'((?:[^']|'')*)'$/.exec(literal);
  if (plain !== null) return plain[1]!.replaceAll("''", "'");
  const escaped = /^E'((?:[^'\\]|''|\\[^])*)'$/i.exec(literal);
  if (escaped === null) return literal;
  return escaped[1]!.replaceAll(/''|\\(?:x([\da-fA-F]{1,2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([^]))/g, (...match) => {
    const [all, byte, short, long, character] = match as (string | undefined)[];
    if (all === "''") return "'";
    const code = byte ?? short ?? long;
    return code === undefined ? (character ?? '') : String.fromCodePoint(Number.parseInt(code, 16));
  });
}
