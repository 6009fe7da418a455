/**
 * A small text file, parsed, and read again when somebody asks for it a few seconds later. It knows neither what is
 * in the file nor who asks, and it has no timer: a file that nobody needs is not read.
 */
import type { Environment } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';

/** How old a file's content may be: what an edit of /etc/hosts takes to be seen. */
export const FILE_MAX_AGE_MS = 5000;

export class CachedFile<T> {
  readonly #environment: Environment;
  readonly #logger: Logger;
  readonly #path: string;
  readonly #parse: (text: string) => T;
  #text = '';
  #value: T;
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<T> | null = null;
  #failing = false;

  /** `parse` must not throw; `parse('')` is what a missing file stands for. */
  constructor(environment: Environment, logger: Logger, path: string, parse: (text: string) => T) {
    this.#environment = environment;
    this.#logger = logger;
    this.#path = path;
    this.#parse = parse;
    this.#value = parse('');
  }

  /** Never rejects: a file that cannot be read is as it was when it last could be, a missing one is empty. */
  read(): Promise<T> {
    if (this.#environment.now() - this.#readAt < FILE_MAX_AGE_MS) return Promise.resolve(this.#value);
    this.#reading ??= this.#load();
    return this.#reading;
  }

  async #load(): Promise<T> {
    try {
      this.#accept(await this.#environment.readTextFile(this.#path));
      this.#failing = false;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') this.#accept('');
      if (!this.#failing) this.#logger.warn({ path: this.#path, error: String(error) }, 'cannot read file');
      this.#failing = true;
    }
    this.#readAt = this.#environment.now();
    this.#reading = null;
    return this.#value;
  }

  #accept(text: string): void {
    if (text === this.#text) return; // some hosts files have 100,000 lines: parse them once
    this.#text = text;
    this.#value = this.#parse(text);
  }
}
