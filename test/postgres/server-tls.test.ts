/** TLS between the pooler and real servers: each sslmode, whose certificate is taken, and who the pooler is to them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Certificate, makeAuthority, makeCertificate, writeFiles } from '../support/certificates.ts';
import * as bytes from '../support/corpus/client-bytes.ts';
import { errorFields } from '../support/corpus/server-message.ts';
import { outcome, TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import type { PostgresVersion } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { startTlsCluster, type TlsCluster } from '../support/tls-cluster.ts';

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
const HOW =
  "select case when ssl then version else 'plain' end, coalesce(client_dn, '') from pg_stat_ssl where pid = pg_backend_pid()";
const REFUSED = ['connect_failed', 'login_failed'];

/** What the server says of the pooler's connection, or the SQLSTATE and words of the refusal. */
async function how(options: PoolerOptions): Promise<readonly string[]> {
  const pool = await pooler({ server_login_retry: 0.001, ...options });
  return ask(pool);
}

async function ask(pool: PoolerFixture, user = 'dave'): Promise<readonly string[]> {
  const client = await TcpClient.connect(pool);
  client.send(bytes.startup({ user, database: pool.database }));
  await client.reach('Z', 1);
  const error = client.messages.find(({ type }) => type === 'E');
  if (error !== undefined) {
    const { C = '', M = '' } = errorFields(error.body);
    await client.rest();
    await client.drop();
    return [C, M];
  }
  client.messages.length = 0;
  const { rows } = await client.query(HOW);
  await client.leave();
  return rows[0]?.map(String) ?? [];
}

describe.each([15, 18] as const)('PostgreSQL %i', (version: PostgresVersion) => {
  let tls: TlsCluster;
  beforeAll(async () => {
    tls = await startTlsCluster({
      version,
      hba: [
        'hostssl all alice samehost cert',
        'hostssl all bob samehost trust',
        'hostnossl all carol samehost trust',
        'local all all reject',
        'host all bob samehost reject',
        'host all carol samehost reject',
      ],
    });
  });
  afterAll(() => tls.close());

  it.each(MODES)('server_tls_sslmode=%s, with TLS', async (mode) => {
    const [what] = await how({ cluster: tls.cluster, server_tls_sslmode: mode, server_tls_ca_file: tls.rootFile });
    expect(what).toBe(mode === 'disable' || mode === 'allow' ? 'plain' : 'TLSv1.3');
  });

  it.each(MODES)('server_tls_sslmode=%s, without TLS', async (mode) => {
    const [what, words] = await how({
      cluster: sharedCluster(version),
      server_tls_sslmode: mode,
      server_tls_ca_file: tls.rootFile,
      expectedCloses: REFUSED,
    });
    const isRefused = mode === 'require' || mode.startsWith('verify-');
    expect(what).toBe(isRefused ? '08006' : 'plain');
    if (isRefused) expect(words).toContain('does not support TLS');
  });

  it.each([
    ['allow', 'bob', 'TLSv1.3'],
    ['prefer', 'bob', 'TLSv1.3'],
    ['prefer', 'carol', 'plain'],
    ['allow', 'carol', 'plain'],
    ['require', 'carol', '28000'],
    ['disable', 'bob', '28000'],
  ] as const)('server_tls_sslmode=%s, where the rules let %s in one way only: %s', async (mode, user, result) => {
    const pool = await pooler({ cluster: tls.cluster, server_tls_sslmode: mode, expectedCloses: REFUSED });
    expect((await ask(pool, user))[0]).toBe(result);
  });

  it.each([
    ['tlsv1.2', 'TLSv1.2'],
    ['tlsv1.3', 'TLSv1.3'],
  ] as const)('server_tls_protocols=%s', async (setting, what) => {
    const options = { cluster: tls.cluster, server_tls_sslmode: 'require', server_tls_protocols: setting };
    expect((await how(options))[0]).toBe(what);
  });

  it('is shown a certificate, if there is one', async () => {
    const alice = makeCertificate({
      issuer: tls.root,
      subject: [
        ['O', 'test'],
        ['CN', 'alice'],
      ],
    });
    const files = writeFiles({ key: alice.key, cert: alice.cert });
    const settings = {
      ...tls.settings,
      client_tls_sslmode: 'disable',
      server_tls_key_file: files.key,
      server_tls_cert_file: files.cert,
    };
    const pool = await pooler({ cluster: tls.cluster, ...settings });
    expect(await ask(pool, 'alice')).toEqual(['TLSv1.3', '/O=test/CN=alice']);
    const { server_tls_key_file: _key, server_tls_cert_file: _cert, ...without } = settings;
    const other = await pooler({ cluster: tls.cluster, ...without, expectedCloses: REFUSED });
    expect((await ask(other, 'alice'))[0]).toBe('28000');
  });

  it('is asked for TLS at once with server_tls_sslnegotiation=direct', async () => {
    const options = { cluster: tls.cluster, ...tls.settings, client_tls_sslmode: 'disable' };
    const [what] = await how({ ...options, server_tls_sslnegotiation: 'direct', expectedCloses: REFUSED });
    expect(what).toBe(version === 18 ? 'TLSv1.3' : '08006');
  });

  it('is logged in to with its channel bound', async () => {
    const options = { cluster: tls.cluster, ...tls.settings, client_tls_sslmode: 'disable' };
    const pool = await pooler({ ...options, database: { user: 'postgres' }, server_channel_binding: 'require' });
    expect((await ask(pool))[0]).toBe('TLSv1.3');
    const plain = { ...options, server_tls_sslmode: 'disable', server_channel_binding: 'require' };
    const other = await pooler({ ...plain, database: { user: 'postgres' }, expectedCloses: REFUSED });
    expect((await ask(other))[0]).toBe('08006');
  });

  it('is sent a cancel with TLS', async () => {
    const pool = await pooler({ cluster: tls.cluster, ...tls.settings });
    const client = await TcpClient.connectTls(pool);
    await client.logIn({ user: 'dave', database: pool.database });
    client.send(bytes.query('select pg_sleep(20)'));
    for (;;) {
      const sessions = await pool.cluster.activity(pool.database);
      if (sessions.some(({ state }) => state === 'active')) break;
    }
    const canceller = await TcpClient.connectTls(pool);
    canceller.send(bytes.cancelRequest(client.cancelKey));
    expect(await canceller.rest()).toEqual([]);
    await canceller.drop();
    expect(outcome(await client.take('Z'))).toMatchObject({ sqlstate: '57014', status: 'I' });
    expect((await client.query('select 1')).rows).toEqual([['1']]);
    await client.leave();
  });
});

const strangers = makeAuthority('another root');
const named = (root: Certificate) => makeCertificate({ issuer: root, dns: ['localhost'] });
const wrongName = (root: Certificate) => makeCertificate({ issuer: root, dns: ['elsewhere.example'] });
const expired = (root: Certificate) => makeCertificate({ issuer: root, dns: ['localhost'], validDays: [-10, -1] });
const selfSigned = () => makeCertificate({ dns: ['localhost'] });
const unknownRoot = () => makeCertificate({ issuer: strangers, dns: ['localhost'] });
/** Asks a server that has the certificate `make` makes. */
async function verdict(mode: string, make: (root: Certificate) => Certificate, host = 'localhost'): Promise<string> {
  const tls = await startTlsCluster({ version: 18 }, make);
  try {
    const pool = await pooler({
      cluster: tls.cluster,
      database: { host },
      server_tls_sslmode: mode,
      server_tls_ca_file: tls.rootFile,
      expectedCloses: REFUSED,
      leavesServerDown: true,
    });
    const [what = '', words = ''] = await ask(pool);
    await pool.close();
    return what.startsWith('TLS') ? 'TLS' : words;
  } finally {
    await tls.close();
  }
}

describe('a certificate that is not to be trusted', () => {
  const failed = 'connection to the server failed: ';
  const handshake = `${failed}TLS handshake failed: `;

  it.each([
    ['verify-full', 'with the right name', named, 'TLS'],
    ['verify-full', 'with another name', wrongName, `${failed}the server's certificate is not for host "localhost"`],
    ['verify-ca', 'with another name', wrongName, 'TLS'],
    ['verify-full', 'that has expired', expired, `${handshake}certificate has expired`],
    ['verify-ca', 'that has expired', expired, `${handshake}certificate has expired`],
    ['verify-ca', 'that signs itself', selfSigned, `${handshake}self-signed certificate`],
    ['verify-ca', 'of an unknown root', unknownRoot, `${handshake}unable to verify the first certificate`],
    ['require', 'that signs itself', selfSigned, 'TLS'],
    ['require', 'that has expired', expired, 'TLS'],
  ] as const)('%s: one %s', async (mode, _what, make, result) => {
    expect(await verdict(mode, make)).toBe(result);
  });
});
