/** The home of pino: one JSON object a line on standard output, with stable field names. */
import { type DestinationStream, pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LogFields {
  readonly [field: string]: unknown;
}

/** What the rooms see of the log. `fields` are structured data; secrets never belong there. */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  const options = { level, base: null };
  return destination === undefined ? pino(options) : pino(options, destination);
}
