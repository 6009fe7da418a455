/** Plays the corpus of conversations directly and through a pooler, and compares what the two servers said. */
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import allowedDifferences from '../support/allowed-differences.json' with { type: 'json' };
import { type Conversation, corpusSchema, emptyCorpusTables } from '../support/corpus/conversation.ts';
import { copyConversations } from '../support/corpus/copy.ts';
import { extendedConversations } from '../support/corpus/extended-query.ts';
import { malformedConversations } from '../support/corpus/malformed.ts';
import { type AllowedDifference, type Manner, play, transcript } from '../support/corpus/play.ts';
import { simpleConversations } from '../support/corpus/simple-query.ts';
import { statementConversations } from '../support/corpus/statements.ts';
import { type PoolerFixture, startPooler } from '../support/pooler-fixture.ts';
import type { PostgresVersion } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const wholeCorpus: readonly Conversation[] = [
  ...simpleConversations,
  ...extendedConversations,
  ...copyConversations,
  ...malformedConversations,
  ...statementConversations,
];

export interface CorpusRun {
  readonly version: PostgresVersion;
  readonly mode: 'session' | 'transaction' | 'statement';
  readonly directIo: boolean;
  readonly manner: Manner;
  /** Leaves out those that take long. */
  readonly onlyShort?: boolean;
  /** Leaves out those of more bytes. */
  readonly longestBytes?: number;
}

/** What a session is, as far as a pooler answers for it; the first column is the backend. */
const PROBE = `select pg_backend_pid(), current_setting('client_encoding'), current_setting('DateStyle'),
  current_setting('TimeZone'), current_setting('standard_conforming_strings'), current_setting('application_name'),
  current_user, current_database(), txid_current_if_assigned(), (select count(*) from pg_cursors)`;

const allowed: readonly AllowedDifference[] = allowedDifferences;

export function comparesWithDirect(run: CorpusRun): void {
  const { version, mode, directIo, manner } = run;
  const title = `PostgreSQL ${version}, ${mode} mode, ${directIo ? 'direct' : 'stream'} I/O, ${manner}`;
  describe(title, () => {
    const cluster = sharedCluster(version);
    let pool: PoolerFixture;
    let direct: string;
    const administrators: Client[] = [];

    beforeAll(async () => {
      direct = await cluster.createDatabase();
      pool = await startPooler({
        cluster,
        pool_mode: mode,
        pool_size: 1,
        directIo,
        expectedCloses: ['eof', 'fatal_error', 'abandoned'],
      });
      for (const database of [direct, pool.database]) {
        const administrator = new Client({ connectionString: cluster.url(database) });
        await administrator.connect();
        await administrator.query(`${corpusSchema}; set lock_timeout = '3s'`);
        administrators.push(administrator);
      }
    });

    afterAll(async () => {
      await Promise.all(administrators.map((administrator) => administrator.end()));
      await pool.close();
    });

    const legal = wholeCorpus.filter((conversation) => isPlayed(conversation, run));
    it.each(legal.map((conversation) => [conversation.name, conversation] as const))(
      '%s',
      async (name, conversation) => {
        const before = await probe(pool);
        for (const administrator of administrators) await administrator.query(emptyCorpusTables);
        const parameters = { user: 'dave', application_name: 'corpus' };
        const heardDirectly = await play(cluster, { ...parameters, database: direct }, conversation, manner);
        const heardThrough = await play(pool, { ...parameters, database: pool.database }, conversation, manner);
        expect(transcript(heardThrough, name, allowed)).toEqual(transcript(heardDirectly, name, allowed));
        expect(heardThrough.length).toBeGreaterThan(0);

        // Whoever comes next finds a clean session; it is the same one unless the conversation has ended it.
        const [pid, ...session] = await probe(pool);
        expect(session).toEqual(before.slice(1));
        if (conversation.endsServer) expect(pid).not.toBe(before[0]);
        else expect(pid).toBe(before[0]);
      },
    );
  });
}

function isPlayed(conversation: Conversation, run: CorpusRun): boolean {
  const { mode, manner, onlyShort = false, longestBytes = Number.POSITIVE_INFINITY } = run;
  if (onlyShort && conversation.isLong) return false;
  if (mode === 'statement' && conversation.hasTransactions) return false;
  if (manner !== 'steps' && conversation.needsWaits) return false;
  const length = conversation.steps.reduce((sum, step) => sum + (step.does === 'say' ? step.bytes.length : 0), 0);
  return length <= longestBytes;
}

async function probe(pool: PoolerFixture): Promise<(string | null)[]> {
  const client = await pool.raw({ application_name: 'probe' });
  const { rows } = await client.query(PROBE);
  await client.leave();
  return rows[0] ?? [];
}
