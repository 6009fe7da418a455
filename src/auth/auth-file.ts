/**
 * The users and secrets of auth_file, which a reload reads again if the file is another one. It does not watch the file;
 * a file that cannot be read leaves what was read before.
 */
import { readFileSync, statSync } from 'node:fs';
import type { Logger } from '../base/logger.ts';
import type { Secret } from './secret.ts';
import type { SecretSource } from './secret-source.ts';
import { parseUserList, type UserList } from './user-list.ts';

export class AuthFile implements SecretSource {
  readonly #log: Logger;
  #users: UserList = parseUserList('');
  /** What was read: the file's path and what the system says of it. */
  #stamp: string | null = null;

  constructor(log: Logger) {
    this.#log = log;
  }

  /**
   * Reads `path` (null: nobody) if that is not what is known already. Throws the system's error if it cannot be read.
   * Returns how to put it into force; until then nothing changes.
   */
  prepare(path: string | null): () => void {
    const stamp = path === null ? null : stampOf(path);
    if (stamp === this.#stamp) return () => {};
    const users = parseUserList(path === null ? '' : readFileSync(path, 'utf8'));
    return () => {
      this.#users = users;
      this.#stamp = stamp;
      for (const { line, message } of users.problems) this.#log.warn({ file: path, line }, message);
    };
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
}

/** Another one for each file, and for each change of one. */
function stampOf(path: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  return [path, dev, ino, size, mtimeNs, ctimeNs].join('\0');
}
