/**
 * Every conversation of the corpus, cut at every byte of what the client sends, by EOF and by RST: what is committed is
 * what PostgreSQL commits when its client is cut there, and the next client is served as if nothing had happened.
 */
import { describe, expect, test } from 'vitest';
import { ModelDatabase } from '../support/model-database.ts';
import { ModelSession } from '../support/model-session.ts';
import { sessionBench } from '../support/session-fixture.ts';
import { MessageReader, client as m } from '../support/wire.ts';
import { corpus } from './corpus.ts';

/** What a client that talks to PostgreSQL directly leaves behind when it is cut after `bytes`. */
function committedDirectly(bytes: Buffer): readonly string[] {
  const database = new ModelDatabase();
  const session = new ModelSession(database, 1, new Map(database.parameters), {
    onReplies: () => {},
    onExit: () => {},
  });
  for (const message of new MessageReader().push(bytes)) session.receive(message);
  session.abort();
  return database.rows;
}

describe.each(['EOF', 'RST'] as const)('%s', (how) => {
  test.each(corpus)('$name', ({ steps }) => {
    const bench = sessionBench({ pool_size: 1 });
    bench.expectClients('eof', 'connection_error');
    bench.expectServers('abandoned');
    const bob = bench.client();
    const expected: string[] = [];
    const total = steps.reduce((sum, step) => sum + step.length, 0);
    for (let cut = 0; cut <= total; cut++) {
      const alice = bench.client();
      let left = cut;
      const sent: Buffer[] = [];
      for (const step of steps) {
        const part = step.subarray(0, left);
        left -= part.length;
        sent.push(part);
        if (part.length > 0) alice.exchange(part);
      }
      if (how === 'EOF') alice.vanish();
      else alice.crash();
      bench.advance(0);
      expected.push(...committedDirectly(Buffer.concat(sent)));
      const token = `token-${cut}`;
      const answers = bob.exchange(m.query(`SELECT ${token}`), m.extended(`SELECT ${token}`));
      expect(answers, `cut after ${cut} of ${total} bytes`).toBe(
        `T D(${token}) C(SELECT 1) Z(I) 1 2 T D(${token}) C(SELECT 1) Z(I)`,
      );
      expect(bench.postgres.rows).toEqual(expected);
      expect(bench.pool().servers.idle.size).toBe(1);
      expect(bench.postgres.backends).toBe(1);
    }
    // Most cuts are no reason to throw the server away.
    expect(bench.postgres.sessions.length).toBeGreaterThan(0);
  });
});
