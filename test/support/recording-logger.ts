/** A log that tests can read. */
import type { LogFields, Logger } from '../../src/base/logger.ts';

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: LogFields;
  readonly message: string;
}

export class RecordingLogger implements Logger {
  readonly lines: LogLine[] = [];
  /** Called with each line. */
  onLine: (line: LogLine) => void = () => {};

  get errors(): string[] {
    return this.at('error');
  }

  at(level: LogLine['level']): string[] {
    return this.lines.filter((line) => line.level === level).map(({ message }) => message);
  }

  debug(fields: LogFields, message: string): void {
    this.#add({ level: 'debug', fields, message });
  }

  info(fields: LogFields, message: string): void {
    this.#add({ level: 'info', fields, message });
  }

  warn(fields: LogFields, message: string): void {
    this.#add({ level: 'warn', fields, message });
  }

  error(fields: LogFields, message: string): void {
    this.#add({ level: 'error', fields, message });
  }

  #add(line: LogLine): void {
    this.lines.push(line);
    this.onLine(line);
  }
}
