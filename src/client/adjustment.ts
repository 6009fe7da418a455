/** What is to be done to a server before a client can use it, and the SQL that does it. It knows neither of the two. */
import { quoteLiteral } from '../server/quote-literal.ts';
import { foldName, type Wishes } from '../server/wishes.ts';

/** A parameter and its value. */
export interface Setting {
  readonly name: string;
  readonly value: string;
}

export interface Adjustment {
  /** Names of others' wishes, in the order in which they go. */
  readonly withdrawn: readonly string[];
  /** In their order. A null value is the server's own. */
  readonly settings: readonly { readonly name: string; readonly value: string | null }[];
  /** Those among `settings` that servers report. */
  readonly places: readonly number[];
  /** All that the client wishes: what the server has of wishes afterwards. */
  readonly wishes: Wishes;
}

/** PostgreSQL takes at most 1664 columns. */
const MAX_COLUMNS = 500;

/**
 * One text of statements that take effect together or not at all (one simple Query is one transaction). Values are in
 * the flat form of startup packets, which set_config takes and SET does not (lists, as of search_path). NULL is RESET.
 */
export function adjustmentSql({ withdrawn, settings }: Pick<Adjustment, 'withdrawn' | 'settings'>): string {
  const calls = withdrawn.map((name) => call(name, 'NULL'));
  for (const { name, value } of settings) {
    if (value === null) {
      calls.push(call(name, 'NULL'));
      continue;
    }
    // `ISO` alone keeps the order of day and month that somebody else had set. At login it would not.
    if (foldName(name) === 'datestyle') calls.push(call(name, 'NULL'));
    calls.push(call(name, quoteLiteral(value)));
  }
  const statements: string[] = [];
  for (let i = 0; i < calls.length; i += MAX_COLUMNS) {
    statements.push(`SELECT ${calls.slice(i, i + MAX_COLUMNS).join(',')}`);
  }
  return statements.join(';');
}

/** What it returns is not asked for: the client's encoding may have no characters for it. */
function call(name: string, value: string): string {
  return `pg_catalog.set_config(${quoteLiteral(name)},${value},false) IS NULL`;
}
