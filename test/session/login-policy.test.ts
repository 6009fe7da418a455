/** Rules of pg_hba.conf and certificates with secrets that PostgreSQL keeps: the rule first, and a question only for who needs it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { HELLO, memoryClientTls } from '../support/memory-tls.ts';
import type { BenchSettings } from '../support/session-fixture.ts';
import { client as m } from '../support/wire.ts';
import { REFUSED, refusal, scene, types } from './auth-query-scene.ts';

/** Clients come from 192.0.2.7. */
const RULES = `
  host    all alice 203.0.113.0/24 trust
  host    all bob   192.0.2.0/24   reject
  hostssl all carol all            cert
  host    all dave  192.0.2.7/32   trust
  host    all,app erin all         password
`;

function fileOf(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-hba-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'pg_hba.conf');
  writeFileSync(path, text);
  return path;
}

/** A login over TLS, with a certificate for `commonName`; `password` null: it must not be asked for one. */
async function logIn(
  settings: BenchSettings,
  user: string,
  { commonName = null as string | null, password = null as string | null, database = 'app' } = {},
) {
  const peer = commonName === null ? null : { commonName, distinguishedName: `CN=${commonName}` };
  const made = scene(settings, { clientSecurity: memoryClientTls({ security: { peer } }) }, (name) =>
    name === 'nobody' ? [] : [[name, `${name}-secret`]],
  );
  const client = made.bench.connect();
  client.sendNegotiation('ssl');
  made.bench.run();
  client.exchange(HELLO);
  client.send(m.startup({ user, database }));
  await made.bench.settle();
  if (password !== null) {
    expect(client.takeSummary()).toBe('R');
    client.send(m.password(password));
    await made.bench.settle();
  }
  return { ...made, client, answer: client.take(), asked: made.peer.names };
}

const IN = /^RS+KZ$/;

const hba = () => ({ auth_type: 'hba', auth_hba_file: fileOf(RULES) });

describe('auth_type hba', () => {
  test.each([
    ['no line', 'alice', {}],
    ['a line that rejects', 'bob', {}],
    ['a line for certificates, without one', 'carol', {}],
    ['a line for certificates, with another’s', 'carol', { commonName: 'dave' }],
  ] as const)('%s: refused, and PostgreSQL is not asked', async (_what, user, options) => {
    const { bench, answer, asked } = await logIn(hba(), user, options);
    expect(refusal(answer)).toBe(REFUSED);
    expect(asked).toEqual([]);
    expect(bench.postgres.streams.size).toBe(0);
  });

  test('trust: whether the user exists is asked, and nothing else', async () => {
    const { answer, asked, client } = await logIn(hba(), 'dave');
    expect(types(answer)).toMatch(IN);
    expect(client.query('SELECT a')).toContain('Z(I)');
    expect(asked).toEqual(['dave']);
  });

  test('a password: the secret is asked for, and counts', async () => {
    expect(types((await logIn(hba(), 'erin', { password: 'erin-secret' })).answer)).toMatch(IN);
    const { answer, asked } = await logIn(hba(), 'erin', { password: 'wrong' });
    expect(refusal(answer)).toBe(REFUSED);
    expect(asked).toEqual(['erin']);
  });

  test('a certificate lets in who exists', async () => {
    const { answer, asked } = await logIn(hba(), 'carol', { commonName: 'carol' });
    expect(types(answer)).toMatch(IN);
    expect(asked).toEqual(['carol']);
  });

  test('for the console, where no PostgreSQL is asked, only users of our own get in', async () => {
    const auth_hba_file = fileOf('host pgbouncer all all trust\n');
    const settings = { auth_type: 'hba', auth_hba_file, admin_users: 'local,dave' };
    expect(types((await logIn(settings, 'local', { database: 'pgbouncer' })).answer)).toMatch(IN);
    const { answer, asked } = await logIn(settings, 'dave', { database: 'pgbouncer' });
    expect(refusal(answer)).toBe(REFUSED);
    expect(asked).toEqual([]);
  });
});

describe('auth_type cert', () => {
  test.each([
    ['its own', 'alice', 'alice', true],
    ['another’s', 'alice', 'bob', false],
    ['none', 'alice', null, false],
    ['that of a user who does not exist', 'nobody', 'nobody', false],
  ])('with %s', async (_what, user, commonName, isIn) => {
    const { answer } = await logIn({ auth_type: 'cert' }, user, { commonName });
    if (isIn) expect(types(answer)).toMatch(IN);
    else expect(refusal(answer)).toBe(REFUSED);
  });
});
