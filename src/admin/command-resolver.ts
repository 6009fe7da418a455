/**
 * From the words of a statement to the command that is meant: what right it needs, the shape of its answer, and how it is
 * run. Everything that it does not know is refused with PgBouncer's words.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import type { Column } from '../protocol/row-messages.ts';
import { type Answer, COMMANDS, type CommandContext, helpText } from './admin-commands.ts';
import type { ConsoleRight } from './console-right.ts';
import { SESSION_PARAMETERS } from './session-words.ts';
import { SHOW_TABLES } from './show-tables.ts';
import type { ConsoleStatement, ConsoleWord } from './statement-parser.ts';

export interface ResolvedCommand {
  readonly right: ConsoleRight;
  /** Of the rows that it answers with; null if it has none. */
  readonly columns: readonly Column[] | null;
  /** For the log: what was asked, without values. Null for what only looks. */
  readonly logged: string | null;
  run(context: CommandContext): Answer;
}

/** PgBouncer's limits, in bytes. */
const MAX_ARGUMENT_BYTES = 63;
const MAX_VALUE_BYTES = 255;

const TABLES = new Map(SHOW_TABLES.map((table) => [table.name, table]));
const DEFINITIONS = new Map(COMMANDS.map((command) => [command.name, command]));

export function resolveCommand(statement: ConsoleStatement): ResolvedCommand | { readonly problem: ErrorReport } {
  const { words, text } = statement;
  const [first, ...rest] = words ?? [];
  const unknown = { problem: errors.invalidCommand(text) };
  if (first === undefined || first.kind === 'string' || first.kind === 'symbol') return unknown;
  const verb = first.text.toLowerCase();
  if (verb === 'show' || verb === 'select') return resolveShow(rest) ?? unknown;
  if (verb === 'set') return resolveSet(rest) ?? unknown;
  const definition = DEFINITIONS.get(verb);
  const [argument, ...more] = rest;
  if (definition === undefined || more.length > 0) return unknown;
  if (argument !== undefined && (definition.argument === '' || !isName(argument))) return unknown;
  const name = argument?.text ?? '';
  if (Buffer.byteLength(name) > MAX_ARGUMENT_BYTES) return { problem: errors.badArguments() };
  return {
    right: definition.right,
    columns: null,
    logged: `${verb.toUpperCase()}${name === '' ? '' : ` '${name}'`}`,
    run: (context) => definition.run(context, name),
  };
}

function isName({ kind }: ConsoleWord): boolean {
  return kind === 'plain' || kind === 'quoted';
}

function resolveShow(words: readonly ConsoleWord[]): ResolvedCommand | null {
  const [word, ...more] = words;
  if (word === undefined || more.length > 0 || !isName(word)) return null;
  const name = word.text.toLowerCase();
  if (name === 'help') {
    const notice = { message: 'Console usage', detail: helpText() };
    return { right: 'stats', columns: null, logged: null, run: () => ({ kind: 'done', tag: 'SHOW', notice }) };
  }
  const value = SESSION_PARAMETERS.get(name);
  if (value !== undefined) {
    const columns: readonly Column[] = [{ name, type: 'text' }];
    return {
      right: 'stats',
      columns,
      logged: null,
      run: () => ({ kind: 'table', table: { columns, rows: () => [[value]] } }),
    };
  }
  const table = TABLES.get(name);
  if (table === undefined) return null;
  return { right: table.right, columns: table.columns, logged: null, run: () => ({ kind: 'table', table }) };
}

/** `SET [SESSION] name =|TO value`. */
function resolveSet(words: readonly ConsoleWord[]): ResolvedCommand | { readonly problem: ErrorReport } | null {
  const [name, sign, value, ...more] = words[0]?.text.toLowerCase() === 'session' ? words.slice(1) : words;
  if (name === undefined || sign === undefined || value === undefined || !isName(name)) return null;
  if (sign.text !== '=' && sign.text.toLowerCase() !== 'to') return null;
  if (SESSION_PARAMETERS.has(name.text.toLowerCase())) {
    const notice = { message: 'SET ignored' };
    return { right: 'stats', columns: null, logged: null, run: () => ({ kind: 'done', tag: 'SET', notice }) };
  }
  if (more.length > 0 || value.kind === 'symbol') return null;
  const isTooLong =
    Buffer.byteLength(name.text) > MAX_ARGUMENT_BYTES || Buffer.byteLength(value.text) > MAX_VALUE_BYTES;
  if (isTooLong) return { problem: errors.badArguments() };
  return {
    right: 'admin',
    columns: null,
    logged: `SET ${name.text}`,
    run: ({ actions }) => ({
      kind: 'promised',
      answer: actions
        .set(name.text, value.text)
        .then(
          (report): Answer =>
            report === null ? { kind: 'done', tag: `SET ${name.text}=${value.text}` } : { kind: 'error', report },
        ),
    }),
  };
}
