/**
 * Passwords that programs write, such as tokens of a cloud: run when somebody needs one, remembered for a while. It knows
 * neither whose passwords they are nor what for. Nothing that a program has written is ever in the log.
 */
import type { Environment } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';

export interface PasswordCommandLimits {
  readonly ttlMs: number;
  readonly timeoutMs: number;
}

interface Known {
  readonly password: string;
  readonly atMs: number;
}

/** PgBouncer's longest password, and a line's end. */
const MAX_OUTPUT_BYTES = 65_532;

export class PasswordCommands {
  readonly #environment: Pick<Environment, 'runCommand' | 'now'>;
  readonly #log: Logger;
  /** By the command's words. */
  readonly #known = new Map<string, Known>();
  /** Those that run: whoever comes meanwhile shares the answer. */
  readonly #running = new Map<string, Promise<string | null>>();

  constructor(environment: Pick<Environment, 'runCommand' | 'now'>, log: Logger) {
    this.#environment = environment;
    this.#log = log;
  }

  /**
   * The first program's output without the end of its line, not older than `ttlMs`; what it was before, if it cannot be had
   * now; null if it never could. Never rejects.
   */
  password(words: readonly string[], limits: PasswordCommandLimits): string | Promise<string | null> {
    const key = JSON.stringify(words);
    const known = this.#known.get(key);
    if (known !== undefined && this.#environment.now() - known.atMs < limits.ttlMs) return known.password;
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const started = this.#run(words, key, limits).finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }

  /** A new configuration: commands that it does not have are forgotten, with what they wrote. */
  forget(): void {
    this.#known.clear();
  }

  async #run(words: readonly string[], key: string, { timeoutMs }: PasswordCommandLimits): Promise<string | null> {
    try {
      const output = await this.#environment.runCommand(words, { timeoutMs, maxBytes: MAX_OUTPUT_BYTES });
      const password = output.replace(/\r?\n$/, '');
      if (password === '') throw new Error('it wrote nothing');
      if (/[\0\n]/.test(password)) throw new Error('it wrote more than one line');
      this.#known.set(key, { password, atMs: this.#environment.now() });
      return password;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.warn({ program: words[0], error: reason }, 'password_command failed');
      return this.#known.get(key)?.password ?? null;
    }
  }
}
