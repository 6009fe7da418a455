/**
 * The log of the process. Everybody holds this one; where its lines go, and how they look, a reload may change. A log
 * file is opened again each time, so that whoever has renamed it gets a new one.
 */
import { LogFile } from './log-file.ts';
import { createLogger, type LogFields, type LogFormat, type Logger, type LogLevel } from './logger.ts';
import { SystemLog, type SystemLogOptions } from './system-log.ts';

export interface LogSettings {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Path; null: standard output. */
  readonly file: string | null;
  /** Nothing to standard output. */
  readonly quiet: boolean;
  /** Null: not to the system's log. */
  readonly syslog: SystemLogOptions | null;
}

export class ProcessLog implements Logger {
  #log: Logger = createLogger('silent');
  /** Null: nowhere. */
  #file: LogFile | null = null;
  #system: SystemLog | null = null;
  #systemOptions: SystemLogOptions | null = null;

  constructor(settings: LogSettings) {
    this.configure(settings);
  }

  /** A file that cannot be opened is said on standard output, where the lines go then, unless it is to be quiet. */
  configure({ level, format, file, quiet, syslog }: LogSettings): void {
    this.#file?.close();
    this.#file = null;
    const problem = this.#open(file, quiet);
    this.#log = createLogger(level, format, { write: (line) => this.#write(line) });
    if (problem !== null) this.warn({ file }, `the log file cannot be written: ${problem}`);
    if (syslog?.ident === this.#systemOptions?.ident && syslog?.facility === this.#systemOptions?.facility) return;
    this.#system?.close();
    this.#systemOptions = syslog;
    this.#system =
      syslog === null
        ? null
        : new SystemLog(syslog, (words) => this.warn({}, `the system's log is not written: ${words}`));
  }

  debug(fields: LogFields, message: string): void {
    this.#log.debug(fields, message);
  }

  info(fields: LogFields, message: string): void {
    this.#log.info(fields, message);
  }

  warn(fields: LogFields, message: string): void {
    this.#log.warn(fields, message);
  }

  error(fields: LogFields, message: string): void {
    this.#log.error(fields, message);
  }

  /** Returns why the file could not be opened. */
  #open(file: string | null, quiet: boolean): string | null {
    try {
      if (file !== null) this.#file = new LogFile(file);
    } catch (error) {
      if (!quiet) this.#file = new LogFile(null);
      return String(error);
    }
    if (file === null && !quiet) this.#file = new LogFile(null);
    return null;
  }

  #write(line: string): void {
    this.#system?.write(line);
    this.#file?.write(line);
    const lost = this.#file?.takeLost() ?? 0;
    if (lost > 0) this.#log.warn({ lost }, 'lines of the log could not be written and are lost');
  }
}
