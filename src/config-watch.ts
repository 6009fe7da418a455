/**
 * Notices that one of a few files is another one than before, and has been so for a moment: editors write half a file
 * first, or take it away and put another one in its place, and a ConfigMap of Kubernetes swaps a link in the folder. What
 * the files say, and what is done about it, is not known here.
 */
import { realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Environment, Timer } from './base/environment.ts';
import type { FolderWatch, watchFolder } from './net/watch-folder.ts';

export interface ConfigWatchOptions {
  readonly environment: Pick<Environment, 'startTimer'>;
  readonly watchFolder: typeof watchFolder;
  readonly onChange: () => void;
}

/** So long nothing has happened to a file that is read. */
const QUIET_MS = 250;
/** Where the system tells nothing (network file systems), a look at the files does. */
const LOOK_MS = 5000;

export class ConfigWatch {
  readonly #options: ConfigWatchOptions;
  #paths: readonly string[] = [];
  /** What the files were when they were last seen to be read. */
  #known = '';
  /** What they were at the last look: only what stays the same is read. */
  #seen = '';
  #watches: FolderWatch[] = [];
  #looks: Timer | null = null;
  #quiet: Timer | null = null;

  constructor(options: ConfigWatchOptions) {
    this.#options = options;
  }

  /** From now on these are watched, as they are now, if they are not already. None ends it. */
  watch(paths: readonly string[]): void {
    if (paths.join('\0') === this.#paths.join('\0')) return;
    this.close();
    this.#paths = paths;
    if (paths.length === 0) return;
    this.#known = stampOf(paths);
    this.#begin();
  }

  #begin(): void {
    const paths = this.#paths;
    const { environment } = this.#options;
    for (const folder of foldersOf(paths)) {
      const watch = this.#options.watchFolder(folder, () => this.#wait());
      if (watch !== null) this.#watches.push(watch);
    }
    this.#looks = environment.startTimer(LOOK_MS, () => this.#look(), 'repeat');
  }

  close(): void {
    this.#paths = [];
    this.#stop();
  }

  #stop(): void {
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
    this.#looks?.cancel();
    this.#quiet?.cancel();
    this.#looks = null;
    this.#quiet = null;
  }

  /** Something may have happened: a look when nothing more does. */
  #wait(): void {
    this.#quiet?.cancel();
    this.#seen = stampOf(this.#paths);
    this.#quiet = this.#options.environment.startTimer(QUIET_MS, () => this.#onQuiet());
  }

  #look(): void {
    if (this.#quiet === null && stampOf(this.#paths) !== this.#known) this.#wait();
  }

  #onQuiet(): void {
    this.#quiet = null;
    const stamp = stampOf(this.#paths);
    if (stamp !== this.#seen) {
      this.#wait();
      return;
    }
    // A file that is missing is about to be replaced.
    if (stamp === this.#known || stamp.includes(MISSING)) return;
    this.#known = stamp;
    // The links may lead to other folders now.
    this.#stop();
    this.#begin();
    this.#options.onChange();
  }
}

const MISSING = '?';

/** Another one for each file that takes the place, and each change of one. */
function stampOf(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
      return stat === undefined ? MISSING : [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(':');
    })
    .join(' ');
}

/** Those in which the names stand, and those in which the files are that links lead to. */
function foldersOf(paths: readonly string[]): ReadonlySet<string> {
  const folders = new Set(paths.map((path) => dirname(path)));
  for (const path of paths) {
    try {
      folders.add(dirname(realpathSync(path)));
    } catch {
      // It comes back where its name is.
    }
  }
  return folders;
}
