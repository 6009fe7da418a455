/**
 * A log for what strangers cause: of the lines that say why somebody was refused (they have a `reason` or a `cause`)
 * so many of each kind in a while are written, and the next one says how many were left out. All others are written. It
 * knows nothing of what they are about.
 */
import type { Environment } from './environment.ts';
import type { LogFields, Logger } from './logger.ts';

/** Of one kind. Somebody who mistypes a password now and then is heard; whoever fills a disk is not. */
const LINES = 100;
const WINDOW_MS = 10_000;

interface Kind {
  windowStartMs: number;
  lines: number;
  leftOut: number;
}

export class FloodLog implements Logger {
  readonly #environment: Pick<Environment, 'now'>;
  readonly #log: Logger;
  /** Reasons and causes are few: they come from tables. */
  readonly #kinds = new Map<unknown, Kind>();

  constructor(environment: Pick<Environment, 'now'>, log: Logger) {
    this.#environment = environment;
    this.#log = log;
  }

  debug(fields: LogFields, message: string): void {
    this.#write('debug', fields, message);
  }

  info(fields: LogFields, message: string): void {
    this.#write('info', fields, message);
  }

  warn(fields: LogFields, message: string): void {
    this.#write('warn', fields, message);
  }

  error(fields: LogFields, message: string): void {
    this.#write('error', fields, message);
  }

  #write(level: keyof Logger, fields: LogFields, message: string): void {
    const leftOut = this.#admit(fields['reason'] ?? fields['cause']);
    if (leftOut !== null) this.#log[level](leftOut === 0 ? fields : { ...fields, leftOut }, message);
  }

  /** How many lines of the kind were left out before this one; null if this one is, too. */
  #admit(name: unknown): number | null {
    if (name === undefined) return 0;
    const nowMs = this.#environment.now();
    const kind = this.#kinds.get(name) ?? { windowStartMs: nowMs, lines: 0, leftOut: 0 };
    this.#kinds.set(name, kind);
    if (nowMs - kind.windowStartMs >= WINDOW_MS) {
      kind.windowStartMs = nowMs;
      kind.lines = 0;
    }
    if (kind.lines >= LINES) {
      kind.leftOut++;
      return null;
    }
    kind.lines++;
    const { leftOut } = kind;
    kind.leftOut = 0;
    return leftOut;
  }
}
