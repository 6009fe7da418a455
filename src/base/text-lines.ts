/**
 * PgBouncer's form of a line in the log: `2026-11-24 12:00:00.000 UTC [4711] LOG login user=app`. It is fed with lines of
 * JSON, as pino makes them, and decides nothing but how they look.
 */

interface Output {
  write(line: string): void;
}

/** By pino's numbers; the words are PgBouncer's. */
const WORDS: Readonly<Record<number, string>> = { 20: 'DEBUG', 30: 'LOG', 40: 'WARNING', 50: 'ERROR' };

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
    const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${textOf(value)}`);
    const when = time.replace('T', ' ').replace('Z', ' UTC');
    const text = `${when} [${process.pid}] ${WORDS[level] ?? level} ${msg}${pairs.join('')}`;
    // What a client or a server has said must not look like a line of ours.
    this.#output.write(`${text.replaceAll(/\p{Cc}/gu, escaped)}\n`);
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' && PLAIN.test(value) ? value : JSON.stringify(value);
}

function escaped(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
