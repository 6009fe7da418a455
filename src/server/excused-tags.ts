/** How many of the first SET and DECLARE CURSOR tags of one message are known to leave nothing in the session that others could find. */
import type { ReplyNote } from './note-queue.ts';

const TAGS: ReadonlySet<string> = new Set(['SET', 'DECLARE CURSOR']);

export class ExcusedTags implements ReplyNote {
  #left: number;

  constructor(count: number) {
    this.#left = count;
  }

  /** `tag` has come; whether it says more than its command has done. */
  excuses(tag: string): boolean {
    return TAGS.has(tag) && this.#left-- > 0;
  }

  answered(): void {}

  failed(): void {}

  skipped(): void {}
}
