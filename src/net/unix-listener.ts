/**
 * The Unix socket that is listened on: its file, with its permissions and group, and what a process that was killed has
 * left in its place.
 */
import { chown, lstat, readFile, stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { unixSocketPath } from '../base/unix-path.ts';
import { Listener } from './listener.ts';

export interface UnixListenerOptions {
  readonly folder: string;
  /** Part of the file's name: the port that libpq is told. */
  readonly port: number;
  readonly backlog: number;
  /** Permissions, as in chmod. */
  readonly mode: number;
  /** Name or number; null leaves the process's own. */
  readonly group: string | null;
}

export class UnixListener {
  readonly path: string;
  readonly #options: UnixListenerOptions;
  readonly #listener: Listener;

  /** See `Listener`. */
  constructor(options: UnixListenerOptions, ...callbacks: ListenerCallbacks) {
    this.path = unixSocketPath(options.folder, options.port);
    this.#options = options;
    this.#listener = new Listener({ path: this.path, backlog: options.backlog }, ...callbacks);
  }

  /**
   * Rejects with the system's error, or with one that says who is in the way: a living server (EADDRINUSE), or a file that
   * is no socket, which is left alone.
   */
  async listen(): Promise<void> {
    const { folder, mode, group } = this.#options;
    await stat(folder); // bind() would call a folder that is missing EACCES
    const groupId = group === null ? null : await groupIdOf(group);
    await removeStale(this.path);
    // The file is made by bind(): at no time may more people reach it than `mode` says.
    const umask = process.umask(0o777 & ~mode);
    let listening: Promise<void>;
    try {
      listening = this.#listener.listen();
    } finally {
      process.umask(umask);
    }
    await listening;
    if (groupId === null) return;
    try {
      await chown(this.path, -1, groupId);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** The file goes with it. */
  close(): Promise<void> {
    return this.#listener.close();
  }
}

type ListenerCallbacks =
  ConstructorParameters<typeof Listener> extends [unknown, ...infer Callbacks] ? Callbacks : never;

/** Takes away a socket that nobody listens on any more. */
async function removeStale(path: string): Promise<void> {
  try {
    const found = await lstat(path);
    if (!found.isSocket()) throw systemError('EEXIST', `${path} is there already and is not a socket`);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (await isAlive(path)) throw systemError('EADDRINUSE', `another server listens on ${path}`);
  await unlink(path);
}

/** Whether somebody accepts connections there. Who cannot be asked (EACCES, a full backlog) counts as alive. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => resolve(codeOf(error) !== 'ECONNREFUSED'));
  });
}

/** The number of a group; Node has no getgrnam, so that only those in /etc/group have names here. */
async function groupIdOf(group: string): Promise<number> {
  if (/^\d+$/.test(group)) return Number(group);
  for (const line of (await readFile('/etc/group', 'utf8')).split('\n')) {
    const [name, , id] = line.split(':');
    if (name === group && id !== undefined) return Number(id);
  }
  throw new Error(`unix_socket_group: there is no group "${group}" in /etc/group`);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null;
}

function systemError(code: string, message: string): Error {
  return Object.assign(new Error(`listen ${code}: ${message}`), { code, syscall: 'listen' });
}
