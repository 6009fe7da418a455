/**
 * What a session keeps in each pooling mode, as it is seen through a pooler with one server connection: by the client that
 * has made it, after another one has had the server, and by that other one. It is what `docs/pooling-modes.md` says.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorFields } from '../support/corpus/server-message.ts';
import { outcome, type TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, startPooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { FEATURES, type SessionFeature } from './session-features.ts';

const MODES = ['session', 'transaction', 'statement'] as const;
const VERSIONS = [15, 18] as const;

interface Answer {
  /** Severity and SQLSTATE; null without an error. */
  readonly failure: string | null;
  /** The client was told that something does not last. */
  readonly isTold: boolean;
  readonly isYes: boolean;
}

async function ask(client: TcpClient, message: Buffer): Promise<Answer> {
  client.send(message);
  await client.reach('Z', 1);
  const messages = client.messages.some(({ type }) => type === 'Z') ? await client.take('Z') : await client.rest();
  const error = messages.find(({ type }) => type === 'E');
  const fields = error === undefined ? null : errorFields(error.body);
  const notices = messages.filter(({ type }) => type === 'N').map(({ body }) => errorFields(body)['M'] ?? '');
  return {
    failure: fields === null ? null : `${fields['S']} ${fields['C']}`,
    isTold: notices.some((text) => text.includes('does not outlast its transaction')),
    isYes: outcome(messages).rows[0]?.[0] === 't',
  };
}

async function pidOf(client: TcpClient): Promise<string> {
  return (await client.query('select pg_backend_pid()')).rows[0]?.[0] ?? '';
}

/** What the table says of `feature`. */
async function observe(front: PoolerFixture, isShared: boolean, feature: SessionFeature): Promise<string> {
  const { startup = {}, plant, probe, isOfTransaction = false, isOfDatabase = false, after = 'discard all' } = feature;
  const alice = await front.raw({ user: 'postgres', ...startup });
  const pid = await pidOf(alice);
  let isTold = false;
  for (const message of plant) {
    const answer = await ask(alice, message);
    isTold ||= answer.isTold;
    if (answer.failure !== null) return answer.failure;
  }
  let isKept = isShared && !isOfTransaction ? false : (await ask(alice, probe)).isYes;
  if (isOfTransaction) await alice.query('commit');
  if (!isShared) await alice.leave();
  const bob = await front.raw({ user: 'postgres' });
  const isSeen = !isOfDatabase && (await ask(bob, probe)).isYes;
  const isSameServer = (await pidOf(bob)) === pid;
  if (isShared && !isOfTransaction) isKept = (await ask(alice, probe)).isYes;
  expect((await bob.query(after)).sqlstate).toBeNull();
  await Promise.all([alice.leave(), bob.leave()]);
  if (isSeen) return isKept && !isShared ? 'works, and stays on the server' : 'stays on the server';
  if (isKept) return 'works';
  const how = isTold ? 'undone' : 'undone, unsaid';
  return isSameServer ? how : `${how}; the server is closed`;
}

const PAGE = new URL('../../docs/pooling-modes.md', import.meta.url).pathname;
const BEGIN = '<!-- observed by test/postgres/pooling-modes.test.ts; UPDATE_EXAMPLE=1 writes it anew -->\n';
const END = '<!-- end -->\n';

/** By feature, then by mode: what was seen on each version. */
const observed = new Map<string, Map<string, Map<number, string>>>();

describe.each(VERSIONS)('PostgreSQL %i', (version) => {
  const cluster = sharedCluster(version);

  describe.each(MODES)('%s mode', (mode) => {
    let front: PoolerFixture;

    beforeAll(async () => {
      front = await startPooler({
        cluster,
        pool_mode: mode,
        pool_size: 1,
        expectedCloses: ['dirty', 'replaced'],
      });
      await cluster.query('create sequence canary_sequence', [], front.database);
    });
    afterAll(() => front.close());

    test.each(FEATURES)('$name', async (feature) => {
      const seen = await observe(front, mode !== 'session', feature);
      const byMode = observed.get(feature.name) ?? new Map<string, Map<number, string>>();
      observed.set(feature.name, byMode);
      const byVersion = byMode.get(mode) ?? new Map<number, string>();
      byMode.set(mode, byVersion.set(version, seen));
      // Whoever has a server to itself loses nothing.
      if (mode === 'session') expect(seen).toMatch(/^works/);
    });
  });
});

function cell(feature: string, mode: string): string {
  const seen = observed.get(feature)?.get(mode) ?? new Map<number, string>();
  const words = VERSIONS.map((version) => [version, seen.get(version) ?? 'not observed'] as const);
  if (new Set(words.map(([, word]) => word)).size === 1) return words[0]![1];
  return words.map(([version, word]) => `${version}: ${word}`).join('; ');
}

function table(): string {
  const rows = FEATURES.map(
    ({ name, instead = '' }) => `| ${name} | ${MODES.map((mode) => cell(name, mode)).join(' | ')} | ${instead} |\n`,
  );
  return `\n| | ${MODES.join(' | ')} | what to use instead |\n|---|---|---|---|---|\n${rows.join('')}\n`;
}

test('docs/pooling-modes.md says what was observed (UPDATE_EXAMPLE=1 writes it anew)', () => {
  const page = readFileSync(PAGE, 'utf8');
  const [before = '', rest = ''] = page.split(BEGIN);
  const [, after = ''] = rest.split(END);
  const right = `${before}${BEGIN}${table()}${END}${after}`;
  if (process.env['UPDATE_EXAMPLE'] === '1') writeFileSync(PAGE, right);
  else expect(page).toBe(right);
});
