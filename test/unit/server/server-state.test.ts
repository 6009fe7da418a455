/** The table of a server connection's moves, written down a second time from DESIGN §4. */
import { describe, expect, test } from 'vitest';
import { assertServerMove, SERVER_STATES, type ServerState } from '../../../src/server/server-state.ts';

/** `any → closing (lease still held) → closed` is added below. */
const DESIGN: Readonly<Partial<Record<ServerState, readonly ServerState[]>>> = {
  connecting: ['preparing', 'idle', 'dedicated'],
  idle: ['testing', 'preparing', 'linked'],
  testing: ['idle'],
  preparing: ['linked', 'idle', 'recovering'],
  linked: ['recovering', 'resetting', 'cancelling', 'idle'],
  recovering: ['resetting', 'cancelling', 'idle'],
  cancelling: ['resetting', 'idle'],
};

/** Moves that nobody needs, or that DESIGN leaves open. */
const OPEN_QUESTIONS: ReadonlySet<string> = new Set(['resetting → cancelling', 'resetting → idle']);

function isAllowed(from: ServerState, to: ServerState): boolean {
  try {
    assertServerMove(from, to);
    return true;
  } catch {
    return false;
  }
}

describe('moves', () => {
  test.each(SERVER_STATES)('from %s', (from) => {
    for (const to of SERVER_STATES) {
      if (OPEN_QUESTIONS.has(`${from} → ${to}`)) continue;
      const ends = from !== 'closed' && (to === 'closed' || (to === 'closing' && from !== 'closing'));
      expect([from, to, isAllowed(from, to)]).toEqual([from, to, ends || (DESIGN[from]?.includes(to) ?? false)]);
    }
  });

  test('a wrong one names both states', () => {
    expect(() => assertServerMove('idle', 'recovering')).toThrow('from idle to recovering');
  });
});
