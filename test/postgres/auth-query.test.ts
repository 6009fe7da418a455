/** Secrets that a real PostgreSQL keeps: auth_query, verifiers that it made itself, passwords of other origins. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { type PostgresCluster, type PostgresVersion, startCluster } from '../support/postgres-cluster.ts';

const TOKEN = `token-${'0123456789abcdef'.repeat(512)}`;
const ODD_NAME = `r_odd "é'; -- $1`;
const DAY = 86_400_000;

/** What makes each role, and whether it gets in with its password, `<name>-pw`. */
const ROLES: Readonly<Record<string, { readonly sql: string; readonly isIn: boolean }>> = {
  r_scram: { sql: "login password 'r_scram-pw'", isIn: true },
  r_future: {
    sql: `login password 'r_future-pw' valid until '${new Date(Date.now() + DAY).toISOString()}'`,
    isIn: true,
  },
  r_expired: {
    sql: `login password 'r_expired-pw' valid until '${new Date(Date.now() - DAY).toISOString()}'`,
    isIn: false,
  },
  r_nologin: { sql: "nologin password 'r_nologin-pw'", isIn: false },
  r_null: { sql: 'login password null', isIn: false },
  r_absent: { sql: '', isIn: false },
};

const REFUSED = { code: '28P01', message: 'password authentication failed' };

interface Answer {
  readonly current?: string;
  readonly session?: string;
  readonly code?: string;
  readonly message?: string;
}

async function whoAmI(pool: PoolerFixture, user: string, password: string, more: object = {}): Promise<Answer> {
  const { host, port, database } = pool;
  const client = new Client({ host, port, user, password, database, ...more });
  try {
    await client.connect();
    const { rows } = await client.query<Answer>('select current_user as current, session_user as session');
    await client.end();
    return rows[0] ?? { code: 'no row' };
  } catch (error) {
    const { code = 'none', message } = error as { code?: string; message: string };
    return { code, message };
  }
}

/** Superuser runs auth_query; nobody else is in auth_file. */
function authFile(lines: Readonly<Record<string, string>> = { postgres: 'postgres-secret' }): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-auth-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'users.txt');
  writeFileSync(path, fileText(lines));
  return path;
}

function fileText(lines: Readonly<Record<string, string>>): string {
  return Object.entries(lines)
    .map(([user, secret]) => `"${user}" "${secret}"\n`)
    .join('');
}

describe.each([15, 18] as const satisfies PostgresVersion[])('PostgreSQL %d', (version) => {
  let cluster: PostgresCluster;

  beforeAll(async () => {
    // `md5` means: by MD5 whoever has such a secret, by SCRAM all others.
    cluster = await startCluster({ version, hba: ['host all r_token samehost password', 'host all all samehost md5'] });
    const roles = Object.entries(ROLES).filter(([, { sql }]) => sql !== '');
    await cluster.query(roles.map(([name, { sql }]) => `create role ${name} ${sql}`).join(';'));
    await cluster.query(`create role r_token login password '${TOKEN}'`);
    await cluster.query(`create role ${quoted(ODD_NAME)} login password 'odd-pw'`);
    await cluster.query(`set password_encryption = 'md5'; create role r_md5 login password 'r_md5-pw'`);
  });

  afterAll(() => cluster.close());

  function start(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
    return pooler({ cluster, auth_file: authFile(), auth_user: 'postgres', auth_query_cache_ttl: 0, ...options });
  }

  it.each(['plain', 'md5', 'scram-sha-256'])(
    'auth_type %s: who may log in there may here, as nobody else',
    async (authType) => {
      const pool = await start({ auth_type: authType, pool_mode: 'transaction', pool_size: 1 });
      for (const round of ['cold', 'warm']) {
        for (const [name, { isIn }] of Object.entries(ROLES)) {
          const answer = await whoAmI(pool, name, `${name}-pw`);
          expect(answer, `${name}, ${round}`).toEqual(isIn ? { current: name, session: name } : REFUSED);
          expect(await whoAmI(pool, name, 'wrong'), `${name}, ${round}`).toEqual(REFUSED);
          expect(await whoAmI(pool, name, 'postgres-secret'), `${name}, ${round}`).toEqual(REFUSED);
        }
        const isMd5 = authType !== 'scram-sha-256';
        expect(await whoAmI(pool, 'r_md5', 'r_md5-pw')).toEqual(
          isMd5 ? { current: 'r_md5', session: 'r_md5' } : REFUSED,
        );
        expect(await whoAmI(pool, 'r_md5', 'wrong')).toEqual(REFUSED);
        expect(await whoAmI(pool, ODD_NAME, 'odd-pw')).toEqual({ current: ODD_NAME, session: ODD_NAME });
        expect(await whoAmI(pool, ODD_NAME, 'wrong')).toEqual(REFUSED);
      }
      const seen = new Set((await cluster.activity(pool.database)).map(({ user }) => user));
      const expected = [
        'postgres',
        'r_scram',
        'r_future',
        ODD_NAME,
        ...(authType === 'scram-sha-256' ? [] : ['r_md5']),
      ];
      expect(seen).toEqual(new Set(expected));
    },
  );

  it('CVE-2025-2291: what ends a role counts for the next login, with its servers still open', async () => {
    const pool = await start({ auth_type: 'scram-sha-256', pool_mode: 'transaction', pool_size: 1 });
    const changes = [
      "alter role $ valid until '2001-01-01'",
      'alter role $ nologin',
      'alter role $ password null',
      "alter role $ password 'another'",
      'alter role $ rename to $_renamed',
      'drop role $',
    ];
    // A role each: servers of one that was dropped are not those of another that has got its name.
    for (const [i, change] of changes.entries()) {
      const role = `r_changing_${i}`;
      await cluster.query(`create role ${role} login password 'pw'`);
      expect(await whoAmI(pool, role, 'pw'), change).toMatchObject({ current: role });
      await cluster.query(change.replaceAll('$', role));
      expect(await whoAmI(pool, role, 'pw'), change).toEqual(REFUSED);
    }
    expect(await whoAmI(pool, 'r_changing_3', 'another')).toMatchObject({ current: 'r_changing_3' });
  });

  it('a password that is changed: the new one gets in at once, also where a new server is needed for it', async () => {
    const pool = await start({
      auth_type: 'scram-sha-256',
      pool_mode: 'transaction',
      // Each server is used once: every login needs the key of the secret that counts now.
      server_lifetime: 0,
      expectedCloses: ['lifetime', 'login_failed'],
    });
    await cluster.query("create role r_rotated login password 'one'");
    onTestFinished(async () => void (await cluster.query('drop role r_rotated')));
    for (const password of ['one', 'two', 'three']) {
      await cluster.query(`alter role r_rotated password '${password}'`);
      for (let i = 0; i < 3; i++) {
        expect(await whoAmI(pool, 'r_rotated', password)).toEqual({ current: 'r_rotated', session: 'r_rotated' });
      }
      expect(await whoAmI(pool, 'r_rotated', 'zero')).toEqual(REFUSED);
    }
  });

  it('CVE-2025-12819: nothing that a client or a role sets changes what auth_query means', async () => {
    const pool = await start({ auth_type: 'plain', pool_mode: 'transaction' });
    const trap = `
      create schema evil;
      create table evil.caught (who text);
      grant all on schema evil to public;
      grant all on table evil.caught to public;
      create function evil.equal(name, text) returns bool language plpgsql as
        $$ begin insert into evil.caught values (session_user); return true; end $$;
      create operator evil.= (leftarg = name, rightarg = text, function = evil.equal);
      create function evil.now() returns timestamptz language plpgsql as
        $$ begin insert into evil.caught values (session_user); return '1970-01-01'; end $$;
      create view evil.pg_authid as select 'r_scram'::name as rolname, 'stolen' as rolpassword,
        null::timestamptz as rolvaliduntil, true as rolcanlogin;`;
    await cluster.query(trap, [], pool.database);
    await cluster.query(`alter role postgres in database ${pool.database} set search_path to evil, pg_catalog`);
    for (const options of ['-c search_path=evil,pg_catalog', '-csearch_path=evil']) {
      expect(await whoAmI(pool, 'r_expired', 'r_expired-pw', { options })).toEqual(REFUSED);
      expect(await whoAmI(pool, 'r_scram', 'stolen', { options })).toEqual(REFUSED);
      expect(await whoAmI(pool, 'r_scram', 'r_scram-pw', { options })).toMatchObject({ current: 'r_scram' });
    }
    expect(await cluster.query('select * from evil.caught', [], pool.database)).toEqual([]);
  });

  it('a function of an ordinary auth_user does, if its schema is named; else the log says what is missing', async () => {
    const database = await cluster.createDatabase();
    await cluster.query(
      `create schema pooler;
       create function pooler.get_auth(name text, out uname text, out phash text) returns setof record
         language sql security definer set search_path = pg_catalog as
         $$ select rolname::text, rolpassword from pg_catalog.pg_authid where rolname = name and rolcanlogin $$;
       create role r_asker login password 'asker-pw';
       grant usage on schema pooler to r_asker;`,
      [],
      database,
    );
    onTestFinished(async () => {
      await cluster.query('drop schema pooler cascade', [], database);
      await cluster.query('drop role r_asker');
    });
    const options = {
      databaseName: database,
      auth_type: 'scram-sha-256',
      pool_mode: 'transaction',
      auth_user: 'r_asker',
      auth_file: authFile({ r_asker: 'asker-pw' }),
    };
    const named = await start({ ...options, auth_query: 'SELECT uname, phash FROM pooler.get_auth($1)' });
    expect(await whoAmI(named, 'r_scram', 'r_scram-pw')).toMatchObject({ current: 'r_scram' });
    expect(await whoAmI(named, 'r_absent', 'r_absent-pw')).toEqual(REFUSED);
    await named.close();
    const unnamed = await start({ ...options, auth_query: 'SELECT uname, phash FROM get_auth($1)' });
    expect(await whoAmI(unnamed, 'r_scram', 'r_scram-pw')).toEqual(REFUSED);
    expect(unnamed.log.map(({ message }) => message).join('\n')).toContain('name its schema in auth_query');
    await unnamed.close();
    const forbidden = await start(options);
    expect(await whoAmI(forbidden, 'r_scram', 'r_scram-pw')).toEqual(REFUSED);
    expect(forbidden.log.map(({ message }) => message).join('\n')).toContain('permission denied');
    await forbidden.close();
  });

  it('auth_file is taken again when it has been replaced, verifiers of this PostgreSQL pass through', async () => {
    const path = authFile({ r_scram: await verifierOf(cluster, 'r_scram') });
    const pool = await pooler({
      cluster,
      auth_type: 'scram-sha-256',
      pool_mode: 'transaction',
      auth_file: path,
      server_lifetime: 0,
      expectedCloses: ['lifetime', 'login_failed'],
    });
    expect(await whoAmI(pool, 'r_scram', 'r_scram-pw')).toMatchObject({ current: 'r_scram' });
    expect(await whoAmI(pool, 'r_future', 'r_future-pw')).toEqual(REFUSED);
    writeFileSync(`${path}.new`, fileText({ r_future: await verifierOf(cluster, 'r_future') }));
    renameSync(`${path}.new`, path);
    const taken = (): boolean => pool.log.some(({ message }) => message === 'auth_file has been read again');
    await expect.poll(taken, { timeout: 10_000 }).toBe(true);
    expect(await whoAmI(pool, 'r_scram', 'r_scram-pw')).toEqual(REFUSED);
    expect(await whoAmI(pool, 'r_future', 'r_future-pw')).toMatchObject({ current: 'r_future' });
  });

  it('a token of 8 KB goes from the client to the pooler and from there to a server that asks for it', async () => {
    const setup = { auth_type: 'plain', pool_mode: 'transaction', users: { r_token: { password: ['other', TOKEN] } } };
    const strict = await pooler({
      cluster,
      ...setup,
      users: { r_token: { password: TOKEN } },
      server_require_auth: '',
      expectedCloses: ['login_failed'],
    });
    const refused = await whoAmI(strict, 'r_token', TOKEN);
    expect(refused.code).toBe('08006');
    expect(refused.message).toContain('server_require_auth');
    await strict.close();
    const open = await pooler({ cluster, ...setup, users: { r_token: { password: [TOKEN, 'other'] } } });
    expect(await whoAmI(open, 'r_token', TOKEN)).toMatchObject({ current: 'r_token' });
    expect(await whoAmI(open, 'r_token', 'other')).toMatchObject({ current: 'r_token' });
    expect(await whoAmI(open, 'r_token', TOKEN.slice(1))).toEqual(REFUSED);
  });

  it('a password_command says the password of a forced user', async () => {
    const pool = await pooler({
      cluster,
      auth_type: 'scram-sha-256',
      pool_mode: 'transaction',
      database: { user: 'r_token', password_command: [process.execPath, '-e', `console.log("${TOKEN}")`] },
    });
    expect(await whoAmI(pool, 'alice', 'alice-secret')).toEqual({ current: 'r_token', session: 'r_token' });
    expect(JSON.stringify(pool.log)).not.toContain(TOKEN);
  });
});

async function verifierOf(cluster: PostgresCluster, role: string): Promise<string> {
  const [row] = await cluster.query<{ rolpassword: string }>('select rolpassword from pg_authid where rolname = $1', [
    role,
  ]);
  return row?.rolpassword ?? '';
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
