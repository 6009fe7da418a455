/** The home of pino: a line on standard output for each event, as a JSON object with stable field names or as text. */
import { type DestinationStream, pino } from 'pino';
import { TextLines } from './text-lines.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export type LogFormat = 'json' | 'text';

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

export function createLogger(level: LogLevel, format: LogFormat = 'json', destination?: DestinationStream): Logger {
  const options = { level, base: null };
  const out = destination ?? pino.destination(1);
  if (format === 'json') return pino(options, out);
  return pino({ ...options, timestamp: pino.stdTimeFunctions.isoTime }, new TextLines(out));
}
