/** What a configuration is refused for. */
import { ConfigError, formatProblem } from '../../../src/config/config-error.ts';

/** The problems as people read them. Fails the test if there are none, or if anything else is thrown. */
export function problemsOf(read: () => unknown): string[] {
  try {
    read();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(formatProblem);
    throw error;
  }
  throw new Error('expected a ConfigError');
}
