/**
 * The users and secrets of auth_file: read at start and by a reload, and by itself when the file has changed. After the
 * start either all of it counts or nothing: a file that has vanished, cannot be read or has a broken line leaves the users
 * as they are. It knows no client.
 */
import { readFileSync, statSync } from 'node:fs';
import type { Environment } from '../base/environment.ts';
import type { Logger } from '../base/logger.ts';
import type { Config } from '../config/config.ts';
import { ConfigError } from '../config/config-error.ts';
import type { Secret } from './secret.ts';
import { parseUserList, type UserList, type UserListProblem } from './user-list.ts';

export interface AuthFileOptions {
  readonly environment: Pick<Environment, 'readTextFile' | 'fileVersion'>;
  readonly log: Logger;
  /** The file was found changed, and other users count from now on. */
  readonly onChanged: () => void;
}

/** How often is looked whether it has changed. */
const CHECK_MS = 1000;

export class AuthFile {
  readonly #options: AuthFileOptions;
  /** Null without auth_file. */
  #path: string | null = null;
  #users: UserList = parseUserList('');
  /** What the system said of the file when it was last prepared; null before the start. */
  #stamp: string | null = null;
  #checkedAtMs = Number.NEGATIVE_INFINITY;
  #isBusy = false;
  /** Counts what was prepared and put into force: what was read for an earlier one is nothing worth. */
  #generation = 0;
  /** Of what `check` read last, whether it was taken or not. */
  #readVersion: string | null = null;
  /** As it was at the last look: somebody who writes is not interrupted. */
  #seenVersion: string | null = null;
  /** What was said of it last. */
  #complaint = '';

  constructor(options: AuthFileOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#users.size;
  }

  /** In the file's order. */
  userNames(): Iterable<string> {
    return this.#users.userNames();
  }

  get usualKind(): Secret['kind'] {
    return this.#users.usualKind;
  }

  lookup(userName: string): Secret | null {
    return this.#users.lookup(userName);
  }

  /**
   * Reads auth_file, if what it says is not known already. Throws the system's error if it cannot be read, and a ConfigError
   * for a broken line; but at the start, where nothing could stay as it was, broken lines are left out and logged. Returns
   * how to put its users into force; until then nothing changes.
   */
  prepare({ settings: { authFile: path } }: Config): () => void {
    const stamp = path === null ? '' : stampOf(path);
    if (stamp === this.#stamp) return () => {};
    const users = parseUserList(path === null ? '' : readFileSync(path, 'utf8'));
    const isStart = this.#stamp === null;
    const broken = brokenLine(users);
    if (!isStart && broken !== null && !users.isSameAs(this.#users)) {
      throw new ConfigError([{ file: path, line: broken.line, column: null, path: null, message: broken.message }]);
    }
    return () => {
      this.#path = path;
      this.#users = users;
      this.#stamp = stamp;
      this.#generation++;
      this.#readVersion = null;
      this.#seenVersion = null;
      this.#complaint = '';
      for (const { line, message } of users.problems) this.#options.log.warn({ file: path, line }, message);
    };
  }

  /** Called now and then: reads it again if it has changed, and has not been changing since the last look. */
  check(nowMs: number): void {
    const path = this.#path;
    if (path === null || this.#isBusy || nowMs - this.#checkedAtMs < CHECK_MS) return;
    this.#checkedAtMs = nowMs;
    this.#isBusy = true;
    void this.#readIfChanged(path, this.#generation).finally(() => {
      this.#isBusy = false;
    });
  }

  async #readIfChanged(path: string, generation: number): Promise<void> {
    const { environment } = this.#options;
    try {
      const version = await environment.fileVersion(path);
      if (generation !== this.#generation) return;
      const isStill = version === this.#seenVersion;
      this.#seenVersion = version;
      if (!isStill || version === this.#readVersion) return;
      const users = parseUserList(await environment.readTextFile(path));
      if (generation !== this.#generation) return;
      this.#readVersion = version;
      this.#take(users);
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#complain(error instanceof Error ? error.message : String(error), {});
    }
  }

  #take(users: UserList): void {
    const { log, onChanged } = this.#options;
    const isSame = users.isSameAs(this.#users);
    const broken = brokenLine(users);
    if (!isSame && broken !== null) {
      return this.#complain(broken.message, { line: broken.line, problems: users.problemCount });
    }
    this.#complaint = '';
    if (isSame) return;
    this.#users = users;
    log.info({ file: this.#path, users: users.size }, 'auth_file has been read again');
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

function brokenLine({ problems }: UserList): UserListProblem | null {
  return problems.find(({ kind }) => kind === 'broken') ?? null;
}

/** Another one for each file, and for each change of one. */
function stampOf(path: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  return [path, dev, ino, size, mtimeNs, ctimeNs].join('\0');
}
