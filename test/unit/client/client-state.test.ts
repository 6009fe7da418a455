/** The table of a client's moves (DESIGN §4). */
import { expect, test } from 'vitest';
import { assertClientMove, type ClientState } from '../../../src/client/client-state.ts';

const states: readonly ClientState[] = ['idle', 'waiting', 'linked', 'closed'];
const allowed = new Set(['idle → waiting', 'waiting → linked', 'waiting → idle', 'linked → idle', 'idle → linked']);

test.each(states.flatMap((from) => states.map((to) => [from, to] as const)))('%s → %s', (from, to) => {
  const isAllowed = allowed.has(`${from} → ${to}`) || (to === 'closed' && from !== 'closed');
  if (isAllowed) assertClientMove(from, to);
  else expect(() => assertClientMove(from, to)).toThrow(`from ${from} to ${to}`);
});
