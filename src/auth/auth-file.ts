/**
 * auth_file as it is at present: read again on request, and by itself when it has changed. Either all of it counts or
 * nothing: a file that has vanished, cannot be read or has a broken line leaves the users as they are. It knows no client.
 */
import type { Environment } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';
import type { Secret } from './secret.ts';
import { parseUserList, type UserList } from './user-list.ts';

export interface AuthFileOptions {
  readonly environment: Pick<Environment, 'readTextFile' | 'fileVersion'>;
  readonly log: Logger;
  /** Null without auth_file. */
  readonly path: string | null;
  /** What was read at start. */
  readonly users: UserList;
  /** Other users count from now on. */
  readonly onChanged: () => void;
}

/** How often is looked whether it has changed. */
const CHECK_MS = 1000;

export class AuthFile {
  readonly #options: AuthFileOptions;
  #path: string | null;
  #users: UserList;
  #checkedAtMs = Number.NEGATIVE_INFINITY;
  #busy: Promise<void> | null = null;
  /** Of what was read last, whether it was taken or not; null after the start, so that it is read once more. */
  #readVersion: string | null = null;
  /** As it was at the last look: somebody who writes is not interrupted. */
  #seenVersion: string | null = null;
  /** What was said of it last. */
  #complaint = '';

  constructor(options: AuthFileOptions) {
    this.#options = options;
    this.#path = options.path;
    this.#users = options.users;
  }

  get size(): number {
    return this.#users.size;
  }

  get usualKind(): Secret['kind'] {
    return this.#users.usualKind;
  }

  lookup(userName: string): Secret | null {
    return this.#users.lookup(userName);
  }

  /** Called now and then: reads it again if it has changed, and has not been changing since the last look. */
  check(nowMs: number): void {
    if (this.#path === null || this.#busy !== null || nowMs - this.#checkedAtMs < CHECK_MS) return;
    this.#checkedAtMs = nowMs;
    void this.#start(() => this.#readIfChanged());
  }

  /** Reads it again, or from now on another one. Resolves when that is done, well or not; never rejects. */
  async reload(path: string | null = this.#path): Promise<void> {
    await this.#busy;
    this.#path = path;
    await this.#start(() => this.#read());
  }

  #start(work: () => Promise<void>): Promise<void> {
    this.#busy = work()
      .catch((error: unknown) => this.#complain(error instanceof Error ? error.message : String(error), {}))
      .finally(() => {
        this.#busy = null;
      });
    return this.#busy;
  }

  async #readIfChanged(): Promise<void> {
    const { environment } = this.#options;
    const version = await environment.fileVersion(this.#path!);
    const isStill = version === this.#seenVersion;
    this.#seenVersion = version;
    if (isStill && version !== this.#readVersion) await this.#read();
  }

  async #read(): Promise<void> {
    const { environment, log, onChanged } = this.#options;
    const path = this.#path;
    const version = path === null ? null : await environment.fileVersion(path);
    const users = parseUserList(path === null ? '' : await environment.readTextFile(path));
    this.#readVersion = version;
    const broken = users.problems.find(({ kind }) => kind === 'broken');
    if (broken !== undefined)
      return this.#complain(broken.message, { line: broken.line, problems: users.problemCount });
    this.#complaint = '';
    if (users.isSameAs(this.#users)) return;
    this.#users = users;
    log.info({ file: path, users: users.size }, 'auth_file has been read again');
    onChanged();
  }

  /** Once for each thing that is wrong. */
  #complain(what: string, fields: { readonly line?: number; readonly problems?: number }): void {
    if (what === this.#complaint) return;
    this.#complaint = what;
    this.#options.log.warn(
      { file: this.#path, ...fields, error: what },
      'auth_file is not taken: its users stay as they were',
    );
  }
}
