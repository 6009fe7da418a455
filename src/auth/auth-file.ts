/**
 * The users and secrets of auth_file, which a reload reads again if the file is another one. It does not watch the file;
 * a file that cannot be read leaves what was read before.
 */
import { readFileSync, statSync } from 'node:fs';
import type { Logger } from '../base/logger.ts';
import type { Config, UserConfig } from '../config/config.ts';
import type { Secret } from './secret.ts';
import type { SecretSource } from './secret-source.ts';
import { parseUserList, type UserList } from './user-list.ts';

export class AuthFile implements SecretSource {
  readonly #log: Logger;
  #users: UserList = parseUserList('');
  /** What was read: the file's path and what the system says of it, and the lines that came with the configuration. */
  #read: { readonly stamp: string; readonly lines: string } | null = null;

  constructor(log: Logger) {
    this.#log = log;
  }

  /**
   * Reads the lines of auth_file, and after them one for each password under `users` (of two for one user the later
   * counts), if they are not known already. Throws the system's error if the file cannot be read. Returns how to put them
   * into force; until then nothing changes.
   */
  prepare({ settings: { authFile }, users: configured }: Config): () => void {
    const read = { stamp: authFile === null ? '' : stampOf(authFile), lines: linesOf(configured.values()) };
    if (read.stamp === this.#read?.stamp && read.lines === this.#read.lines) return () => {};
    const text = authFile === null ? '' : readFileSync(authFile, 'utf8');
    const users = parseUserList(`${text}\n${read.lines}`);
    return () => {
      this.#users = users;
      this.#read = read;
      for (const { line, message } of users.problems) this.#log.warn({ file: authFile, line }, message);
    };
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
}

/** Another one for each file, and for each change of one. */
function stampOf(path: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  return [path, dev, ino, size, mtimeNs, ctimeNs].join('\0');
}

function linesOf(users: Iterable<UserConfig>): string {
  const withPassword = [...users].flatMap(({ name, password }) => (password === null ? [] : [{ name, password }]));
  return withPassword.map(({ name, password }) => `${quote(name)} ${quote(password)}`).join('\n');
}

function quote(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}
