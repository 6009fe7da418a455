/**
 * What is wrong with a configuration, told completely: one error that carries every problem found. It knows neither
 * files nor YAML, only where somebody said that a problem is.
 */
import { printable } from './printable.ts';

/** Where something was written: a position in a file, or the path to it in an object. */
export interface Place {
  readonly file: string | null;
  /** 1-based, like `column`; both are null where only the file is known. */
  readonly line: number | null;
  readonly column: number | null;
  /** Such as `pgbouncer.pool_mode`, for objects; null for files. */
  readonly path: string | null;
}

export interface ConfigProblem extends Place {
  readonly message: string;
}

/** `file:line:column: message`, or `path: message` for a value that came as an object. */
export function formatProblem(problem: ConfigProblem): string {
  const { line, column, path, message } = problem;
  if (problem.file !== null) {
    const file = printable(problem.file);
    return line === null ? `${file}: ${message}` : `${file}:${line}:${column ?? 1}: ${message}`;
  }
  return path === null || path === '' ? message : `${path}: ${message}`;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(formatProblem).join('\n'));
    this.problems = problems;
  }
}
