/**
 * PgBouncer's form of a line in the log: `2026-11-24 12:00:00.000 UTC [4711] LOG process up`. It is fed with lines of
 * JSON, as pino makes them, and decides nothing but how they look; the words are those of `text-wording.ts`.
 */
import { wordingOf } from './text-wording.ts';

interface Output {
  write(line: string): void;
}

/** By pino's numbers; the words are PgBouncer's. */
const WORDS: Readonly<Record<number, string>> = { 20: 'DEBUG', 30: 'LOG', 40: 'WARNING', 50: 'ERROR' };

const WARNING = 40;

/** A value that needs no quotes to be told from what follows. */
const PLAIN = /^[\w.:/@*-]+$/;

export class TextLines implements Output {
  readonly #output: Output;

  constructor(output: Output) {
    this.#output = output;
  }

  /** `line` has its time in ISO 8601. */
  write(line: string): void {
    const { level, time, msg, ...fields } = JSON.parse(line) as { level: number; time: string; msg: string };
    const { messages, rest, isWarning } = wordingOf({ message: msg, fields });
    const pairs = Object.entries(rest).map(([name, value]) => (value === undefined ? '' : ` ${name}=${textOf(value)}`));
    const when = time.replace('T', ' ').replace('Z', ' UTC');
    const word = WORDS[isWarning ? Math.max(level, WARNING) : level] ?? level;
    for (const message of messages) {
      const text = `${when} [${process.pid}] ${word} ${message}${pairs.join('')}`;
      // What a client or a server has said must not look like a line of ours.
      this.#output.write(`${text.replaceAll(/\p{Cc}/gu, escaped)}\n`);
    }
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' && PLAIN.test(value) ? value : JSON.stringify(value);
}

function escaped(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
