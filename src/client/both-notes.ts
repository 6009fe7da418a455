/** Two that wait for the same answer. What is taken back is taken back in the reverse order. */
import type { ReplyNote } from '../server/note-queue.ts';

export function bothNotes(first: ReplyNote, second: ReplyNote): ReplyNote {
  return {
    answered: () => {
      first.answered();
      second.answered();
    },
    failed: (error) => {
      second.failed(error);
      first.failed(error);
    },
    skipped: () => {
      second.skipped();
      first.skipped();
    },
  };
}
