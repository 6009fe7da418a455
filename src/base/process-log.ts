/** The log of the process, whose level and form a reload may change. Everybody holds this one; what is behind it changes. */
import { createLogger, type LogFields, type LogFormat, type Logger, type LogLevel } from './logger.ts';

export class ProcessLog implements Logger {
  #log: Logger;

  constructor(level: LogLevel, format: LogFormat) {
    this.#log = createLogger(level, format);
  }

  configure(level: LogLevel, format: LogFormat): void {
    this.#log = createLogger(level, format);
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
}
