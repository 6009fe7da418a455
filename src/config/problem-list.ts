/**
 * Collects problems while a configuration is read, so that all of them are reported in one go. It knows nothing of
 * what they are about.
 */

import { ConfigError, type ConfigProblem, formatProblem, type Place } from './config-error.ts';
import { printable } from './printable.ts';

/** Past this many, more reading would only cost time: nobody mends a thousand lines from one message. */
const MAX_PROBLEMS = 1000;

export class ProblemList {
  readonly #problems: ConfigProblem[] = [];
  /** What lies behind a YAML alias is read once per use, but wrong only once. */
  readonly #seen = new Set<string>();

  add(place: Place, message: string): void {
    const problem: ConfigProblem = Object.freeze({ ...place, message: printable(message) });
    const text = formatProblem(problem);
    if (this.#seen.has(text)) return;
    this.#seen.add(text);
    this.#problems.push(problem);
    if (this.#problems.length === MAX_PROBLEMS) this.throwIfAny();
  }

  get isEmpty(): boolean {
    return this.#problems.length === 0;
  }

  /** Throws a ConfigError with everything that was added, in the order of the files. */
  throwIfAny(): void {
    if (this.#problems.length === 0) return;
    const files = [...new Set(this.#problems.map(({ file }) => file))];
    const sorted = this.#problems.toSorted(
      (a, b) =>
        files.indexOf(a.file) - files.indexOf(b.file) ||
        (a.line ?? 0) - (b.line ?? 0) ||
        (a.column ?? 0) - (b.column ?? 0),
    );
    const last = sorted.at(-1);
    if (last !== undefined && sorted.length === MAX_PROBLEMS) {
      sorted.push(Object.freeze({ ...last, message: 'too many problems; the rest was not read' }));
    }
    throw new ConfigError(Object.freeze(sorted));
  }
}
