/** Certificates in place of passwords, and secrets that PostgreSQL keeps and is asked for over TLS; with real ones of both. */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Certificate, makeAuthority, makeCertificate, writeFiles } from '../support/certificates.ts';
import { libpq18 } from '../support/driver-programs.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { itWith, SystemProcess } from '../support/system-clients.ts';
import { startTlsCluster, type TlsCluster } from '../support/tls-cluster.ts';

const root = makeAuthority();
const ours = makeCertificate({ issuer: root, dns: ['localhost'], ip: ['127.0.0.1'] });
const named = (cn: string, issuer: Certificate = root): Certificate =>
  makeCertificate({ issuer, subject: [['CN', cn]] });
const alices = named('alice');

/** A pooler that knows clients by their certificates. */
function certPooler(settings: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  const files = writeFiles({ key: ours.key, cert: ours.cert, root: root.cert });
  return pooler({
    cluster: sharedCluster(18),
    auth_type: 'cert',
    client_tls_sslmode: 'verify-full',
    client_tls_key_file: files.key,
    client_tls_cert_file: files.cert,
    client_tls_ca_file: files.root,
    ...settings,
  });
}

/** Who psql is at PostgreSQL, or what it complains of. */
async function psqlSays(pool: PoolerFixture, user: string, certificate: Certificate | null, env = {}) {
  const files = certificate === null ? null : writeFiles({ key: certificate.key, cert: certificate.cert });
  const shown = files === null ? 'sslcert=/nonexistent' : `sslkey=${files.key} sslcert=${files.cert}`;
  const target = `host=localhost hostaddr=${pool.host} port=${pool.port} user=${user} dbname=${pool.database}`;
  const psql = new SystemProcess('psql', ['-XAtw', '-d', `${target} sslmode=require ${shown}`], env);
  psql.write('select session_user;\n');
  const { stdout, stderr } = await psql.end();
  return stdout.trim() || (/FATAL: {2}(.*)/.exec(stderr)?.[1] ?? stderr);
}

const REFUSED = 'password authentication failed';

describe('auth_type cert', () => {
  for (const version of [15, 18] as const) {
    itWith('psql')(`lets psql ${version} in as who its certificate names, and as nobody else`, async () => {
      const env = version === 18 ? libpq18() : {};
      const pool = await certPooler();
      expect(await psqlSays(pool, 'alice', alices, env)).toBe('alice');
      expect(await psqlSays(pool, 'bob', named('bob'), env)).toBe('bob');
      expect(await psqlSays(pool, 'bob', alices, env)).toBe(REFUSED);
      // Who is not known here is nobody, whoever has signed the name.
      expect(await psqlSays(pool, 'eve', named('eve'), env)).toBe(REFUSED);
      expect(await psqlSays(pool, 'Alice', alices, env)).toBe(REFUSED);
      const wrong = 'connection requires a valid client certificate';
      expect(await psqlSays(pool, 'alice', null, env)).toBe(wrong);
      expect(await psqlSays(pool, 'alice', named('alice', makeAuthority('another root')), env)).toBe(wrong);
    });
  }

  itWith('psql')('may be one line of pg_hba.conf, with a map', async () => {
    const { hba } = writeFiles({ hba: 'hostssl all all all cert map=people\n' });
    const map = join(dirname(hba), 'pg_ident.conf');
    writeFileSync(map, 'people "Alice Liddell" alice\npeople bob bob\n');
    const pool = await certPooler({ auth_type: 'hba', auth_hba_file: hba, auth_ident_file: map });
    expect(await psqlSays(pool, 'alice', named('Alice Liddell'))).toBe('alice');
    expect(await psqlSays(pool, 'alice', alices)).toBe(REFUSED);
    expect(await psqlSays(pool, 'bob', named('Alice Liddell'))).toBe(REFUSED);
  });
});

describe.each([15, 18] as const)('auth_query, PostgreSQL %d', (version) => {
  let tls: TlsCluster;

  beforeAll(async () => {
    // Nobody gets in without TLS but those who look after the cluster.
    tls = await startTlsCluster({ version, hba: ['hostnossl all r_asker,r_scram samehost reject'] }, (issuer) =>
      makeCertificate({ issuer, subject: [['CN', 'db']], ip: ['127.0.0.1'] }),
    );
    await tls.cluster.query(
      "create role r_scram login password 'r_scram-pw'; create role r_asker login superuser password 'asker-pw'",
    );
  });

  afterAll(() => tls.close());

  function start(settings: Partial<PoolerOptions>): Promise<PoolerFixture> {
    const { users } = writeFiles({ users: '"r_asker" "asker-pw"\n' });
    return pooler({
      cluster: tls.cluster,
      ...tls.settings,
      auth_type: 'scram-sha-256',
      auth_file: users,
      auth_user: 'r_asker',
      auth_query_cache_ttl: 0,
      pool_mode: 'transaction',
      ...settings,
    });
  }

  async function whoAmI(pool: PoolerFixture, password = 'r_scram-pw'): Promise<string> {
    const { host, port, database } = pool;
    const ssl = { ca: tls.root.cert };
    const client = new Client({ host, port, database, user: 'r_scram', password, ssl, enableChannelBinding: true });
    try {
      await client.connect();
      const { rows } = await client.query<{ who: string; ssl: boolean }>(
        'select session_user as who, ssl from pg_stat_ssl where pid = pg_backend_pid()',
      );
      await client.end();
      return `${rows[0]?.who} ${rows[0]?.ssl === true ? 'by TLS' : 'in the clear'}`;
    } catch (error) {
      return (error as { code?: string }).code ?? String(error);
    }
  }

  it.each([
    ['verify-full', { server_channel_binding: 'require' }],
    ['verify-full', { server_channel_binding: 'disable' }],
    ['require', {}],
    ['prefer', {}],
    // Without TLS first, and with it since the rules refuse that.
    ['allow', { expectedCloses: ['login_failed'] }],
  ] as const)('over TLS, with server_tls_sslmode=%s and %j', async (server_tls_sslmode, settings) => {
    const pool = await start({ server_tls_sslmode, ...settings });
    for (const _round of ['cold', 'warm']) {
      expect(await whoAmI(pool)).toBe('r_scram by TLS');
      expect(await whoAmI(pool, 'wrong')).toBe('28P01');
    }
    const askers = await tls.cluster.query<{ ssl: boolean }>(
      "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'r_asker'",
    );
    expect(askers).toEqual([{ ssl: true }]);
  });

  it('is not asked without TLS where it does not want that, nor over TLS with another name', async () => {
    const plain = await start({ server_tls_sslmode: 'disable' });
    expect(await whoAmI(plain)).toBe('28P01');
    expect(plain.log.map(({ message }) => message).join('\n')).toMatch(
      /cannot connect for auth_query: pg_hba.conf rejects connection/,
    );
    await plain.close();
    const other = await start({ database: { host: 'localhost' } });
    expect(await whoAmI(other)).toBe('28P01');
    expect(other.log.map(({ message }) => message).join('\n')).toContain('is not for host "localhost"');
    await other.close();
  });
});
