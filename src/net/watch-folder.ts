/** Hears of what happens to the names in a folder, as far as the system tells. What it means is its caller's business. */
import { watch } from 'node:fs';

export interface FolderWatch {
  close(): void;
}

/** `onEvent` may come for nothing. Null if the system does not watch for us (no such folder, no more watches). */
export function watchFolder(folder: string, onEvent: () => void): FolderWatch | null {
  try {
    const watcher = watch(folder, { persistent: false }, onEvent);
    // The folder is gone: so are its events.
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return null;
  }
}
