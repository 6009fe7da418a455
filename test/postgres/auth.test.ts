/** Who gets in and as whom: every way for clients to prove themselves, with every way for the pooler to do so at a server. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { outcome, TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, pooler } from '../support/pooler-fixture.ts';
import { type UserName, users } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const cluster = sharedCluster(18);
const SERVER_USERS = ['alice', 'bob', 'carol', 'dave'] as const;
const WITH_PASSWORD = ['alice', 'bob', 'carol'] as const;
const AUTH_TYPES = ['trust', 'plain', 'md5', 'scram-sha-256'] as const;

interface Refusal {
  readonly code: string;
  readonly message: string;
}

function passwordOf(user: UserName): string {
  return users[user].password ?? 'none';
}

/** Logs in with node-postgres and asks who it is; an error's code and message if it may not. */
async function whoAmI(
  pool: PoolerFixture,
  user: string,
  password: string,
  database = pool.database,
): Promise<{ current: string; session: string; pid: number } | Refusal> {
  const { host, port } = pool;
  const client = new Client({ host, port, user, password, database });
  try {
    await client.connect();
    const { rows } = await client.query<{ current: string; session: string; pid: number }>(
      'select current_user as current, session_user as session, pg_backend_pid() as pid',
    );
    await client.end();
    return rows[0] ?? { code: 'no row', message: '' };
  } catch (error) {
    const { code, message } = error as Refusal;
    return { code, message };
  }
}

function secretsFile(lines: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-secrets-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'users.txt');
  writeFileSync(
    path,
    Object.entries(lines)
      .map(([user, secret]) => `"${user}" "${secret}"\n`)
      .join(''),
  );
  return path;
}

const md5 = (user: UserName): string =>
  `md5${createHash('md5')
    .update(passwordOf(user) + user)
    .digest('hex')}`;

/** What PostgreSQL has stored for `user`. */
async function verifierOf(user: UserName): Promise<string> {
  const [row] = await cluster.query<{ rolpassword: string }>('select rolpassword from pg_authid where rolname = $1', [
    user,
  ]);
  return row?.rolpassword ?? '';
}

const REFUSED = { code: '28P01', message: 'password authentication failed' };

describe.each(AUTH_TYPES)('auth_type %s', (authType) => {
  it.each(SERVER_USERS)('lets %s in as nobody else, on a server of its own', async (user) => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1, auth_type: authType });
    if (user === 'dave' && authType !== 'trust') {
      // Its secret is empty: it could not even be asked for.
      expect(await whoAmI(pool, 'dave', 'anything')).toEqual(REFUSED);
      return;
    }
    const [first, second] = [await whoAmI(pool, user, passwordOf(user)), await whoAmI(pool, user, passwordOf(user))];
    expect(first).toEqual({ current: user, session: user, pid: expect.any(Number) });
    expect(second).toEqual(first);
    expect(await pool.backends()).toHaveLength(1);
  });

  if (authType === 'trust') return;

  it('refuses all that is wrong in the same words, with a warm pool as well', async () => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1, auth_type: authType });
    for (const isWarm of [false, true]) {
      for (const user of WITH_PASSWORD) {
        if (isWarm) expect(await whoAmI(pool, user, passwordOf(user))).toMatchObject({ current: user });
        expect(await whoAmI(pool, user, `${passwordOf(user)}!`)).toEqual(REFUSED);
        expect(await whoAmI(pool, user, passwordOf(user).slice(0, -1))).toEqual(REFUSED);
        expect(await whoAmI(pool, user, 'x'.repeat(5000))).toEqual(REFUSED);
        expect(await whoAmI(pool, user, passwordOf(user), 'no_such_database')).toMatchObject({ code: '3D000' });
        expect(await whoAmI(pool, user, 'wrong', 'no_such_database')).toEqual(REFUSED);
        expect(await whoAmI(pool, `${user}x`, passwordOf(user))).toEqual(REFUSED);
      }
      for (const name of ['nobody', '__proto__', 'constructor', 'a'.repeat(127), 'ALICE', 'alice ']) {
        expect(await whoAmI(pool, name, 'alice-secret')).toEqual(REFUSED);
      }
    }
    // Nothing of what was refused has come as far as a server.
    const names = await cluster.activity(pool.database);
    expect(new Set(names.map(({ user }) => user))).toEqual(new Set(WITH_PASSWORD));
  });

  it('serves a first query that comes in one packet with the password', async () => {
    if (authType !== 'plain') return;
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1, auth_type: authType });
    for (let round = 0; round < 3; round++) {
      const client = await TcpClient.connect(pool);
      onTestFinished(() => client.leave());
      const startup = bytes.startup({ user: 'alice', database: pool.database });
      client.send(startup, bytes.password('alice-secret'), bytes.query('select current_user'));
      expect(outcome(await client.take('Z', 2)).rows).toEqual([['alice']]);
    }
  });
});

it('takes SCRAM verifiers and MD5 hashes for clients, and logs in to servers with what is known', async () => {
  const lines = {
    alice: await verifierOf('alice'),
    bob: md5('bob'),
    carol: passwordOf('carol'),
    postgres: md5('postgres'),
  };
  const pool = await pooler({
    cluster,
    pool_mode: 'transaction',
    pool_size: 1,
    auth_type: 'md5',
    auth_file: secretsFile(lines),
    databases: { forced: { dbname: 'postgres', user: 'dave' } },
    server_login_retry: 0.1,
    expectedCloses: ['login_failed'],
  });
  expect(await whoAmI(pool, 'bob', passwordOf('bob'))).toMatchObject({ current: 'bob', session: 'bob' });
  expect(await whoAmI(pool, 'carol', passwordOf('carol'))).toMatchObject({ current: 'carol' });
  expect(await whoAmI(pool, 'alice', passwordOf('alice'), 'forced')).toMatchObject({
    current: 'dave',
    session: 'dave',
  });
  expect(await whoAmI(pool, 'alice', 'wrong', 'forced')).toEqual(REFUSED);
  expect(await whoAmI(pool, 'bob', 'wrong', 'forced')).toEqual(REFUSED);
  // The key that the client has shown to have opens the server with the same verifier.
  expect(await whoAmI(pool, 'alice', passwordOf('alice'))).toMatchObject({ current: 'alice', session: 'alice' });
  // The server asks for SCRAM, which a hash cannot answer: said to a client that has proven itself.
  expect(await whoAmI(pool, 'postgres', passwordOf('postgres'))).toMatchObject({
    code: '08006',
    message: expect.stringContaining('SCRAM'),
  });
  // A stolen hash or verifier is no password.
  expect(await whoAmI(pool, 'bob', md5('bob'))).toEqual(REFUSED);
  expect(await whoAmI(pool, 'alice', lines.alice, 'forced')).toEqual(REFUSED);
});

it('asks for nothing with auth_type any, and serves everybody as the forced user', async () => {
  const pool = await pooler({
    cluster,
    pool_mode: 'transaction',
    pool_size: 1,
    auth_type: 'any',
    database: { user: 'bob', password: passwordOf('bob') },
    databases: { other: { dbname: 'postgres' } },
  });
  const answers = [
    await whoAmI(pool, 'nobody', ''),
    await whoAmI(pool, 'alice', 'wrong'),
    await whoAmI(pool, '__proto__', 'x'),
  ];
  expect(answers[0]).toEqual({ current: 'bob', session: 'bob', pid: expect.any(Number) });
  expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
  expect(await whoAmI(pool, 'alice', '', 'other')).toMatchObject({ code: '28000' });
});

it('keeps two users of one database apart, whatever they leave behind', async () => {
  const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1, auth_type: 'scram-sha-256' });
  for (let round = 0; round < 3; round++) {
    for (const user of WITH_PASSWORD)
      expect(await whoAmI(pool, user, passwordOf(user))).toMatchObject({ current: user });
  }
  const sessions = await cluster.activity(pool.database);
  expect(sessions.map(({ user }) => user).sort()).toEqual([...WITH_PASSWORD].sort());
});

it('refuses what comes instead of a password', async () => {
  const pool = await pooler({ cluster, auth_type: 'plain' });
  const startup = bytes.startup({ user: 'alice', database: pool.database });
  const password = Buffer.from('alice-secret');
  const wrong: Readonly<Record<string, readonly [Buffer, string]>> = {
    'a query': [bytes.query('select 1'), '08P01'],
    Sync: [bytes.sync, '08P01'],
    Terminate: [bytes.terminate, '08P01'],
    'a second startup packet': [bytes.startup({ user: 'dave', database: pool.database }), '08P01'],
    'an SSLRequest': [bytes.sslRequest, '08P01'],
    'a cancel request': [bytes.cancelRequest(Buffer.alloc(8)), '08P01'],
    'a password without its end': [bytes.message('p', password), '28P01'],
    'a password with a NUL in it': [bytes.message('p', password, Buffer.of(0), password, Buffer.of(0)), '28P01'],
    'an empty password': [bytes.message('p', Buffer.of(0)), '28P01'],
    nothing: [bytes.message('p'), '28P01'],
    'a password message of a megabyte': [bytes.lyingHeader('p', 1_000_000), '08P01'],
    'a password message of length 3': [bytes.lyingHeader('p', 3), '08P01'],
    'a password message of length 2^31': [bytes.lyingHeader('p', 0x8000_0000), '08P01'],
  };
  for (const [what, [message, sqlstate]] of Object.entries(wrong)) {
    const client = await TcpClient.connect(pool);
    client.send(startup);
    await client.next('R');
    client.send(message);
    const said = await client.rest();
    expect(
      said.map(({ type }) => type),
      what,
    ).toEqual(['E']);
    expect(errorFields(said[0]?.body ?? Buffer.alloc(0)), what).toMatchObject({ S: 'FATAL', C: sqlstate });
    await client.drop();
  }
  expect(await pool.backends()).toEqual([]);
});

it('never lets a second startup packet change who somebody is, in the middle of SCRAM either', async () => {
  const pool = await pooler({ cluster, auth_type: 'scram-sha-256' });
  const mechanism = Buffer.from('SCRAM-SHA-256\0');
  const first = Buffer.from('n,,n=,r=abcdefghijklmnop');
  const initial = bytes.message('p', mechanism, bytes.int32(first.length), first);
  for (const database of [pool.database, 'no_such_database']) {
    for (const intruder of [
      bytes.startup({ user: 'alice', database: pool.database }),
      bytes.sslRequest,
      bytes.startup({ user: 'postgres' }),
    ]) {
      const client = await TcpClient.connect(pool);
      client.send(bytes.startup({ user: 'bob', database }));
      await client.next('R');
      client.send(initial);
      await client.next('R');
      client.send(intruder);
      expect(await client.fatal()).toBe('08P01');
      await client.drop();
    }
  }
  expect(await pool.backends()).toEqual([]);
});
