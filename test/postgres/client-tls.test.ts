/** TLS between clients and the pooler, with real handshakes: every sslmode of libpq against every one of ours, and drivers. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as secure } from 'node:tls';
import { Client } from 'pg';
import postgres from 'postgres';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { SslMode } from '../../src/config/settings.ts';
import { type Certificate, makeAuthority, makeCertificate, writeFiles } from '../support/certificates.ts';
import * as bytes from '../support/corpus/client-bytes.ts';
import { TcpClient } from '../support/corpus/tcp-client.ts';
import { libpq18 } from '../support/driver-programs.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { itWith, SystemProcess } from '../support/system-clients.ts';

const cluster = sharedCluster(18);
const root = makeAuthority();
const strangers = makeAuthority('another root');
const ours = makeCertificate({ issuer: root, dns: ['localhost'], ip: ['127.0.0.1'] });
const clientCertificate = makeCertificate({ issuer: root, subject: [['CN', 'dave']] });

function filesOf(certificate: Certificate = ours) {
  return writeFiles({ key: certificate.key, cert: certificate.cert, root: root.cert });
}

/** A pooler that has a certificate, in front of a database of its own. */
async function tlsPooler(
  mode: SslMode,
  settings: Partial<PoolerOptions> = {},
  files = filesOf(),
): Promise<PoolerFixture> {
  return pooler({
    cluster,
    client_tls_sslmode: mode,
    client_tls_key_file: files.key,
    client_tls_cert_file: files.cert,
    ...(mode.startsWith('verify-') ? { client_tls_ca_file: files.root } : {}),
    ...settings,
  });
}

const login = (pool: PoolerFixture) => ({ user: 'dave', database: pool.database });

describe('node-postgres', () => {
  it('is served with TLS, and its certificate is seen to be ours', async () => {
    const pool = await tlsPooler('require');
    const client = await pool.client({ ssl: { ca: root.cert } });
    const { rows } = await client.query<{ sum: string }>('select sum(n) from generate_series(1, 100000) n');
    expect(rows).toEqual([{ sum: '5000050000' }]);
  });

  it('is told that TLS is required', async () => {
    const pool = await tlsPooler('require');
    await expect(new Client({ connectionString: pool.url }).connect()).rejects.toMatchObject({
      code: '28000',
      message: 'SSL required',
    });
  });

  it('comes in with its certificate, and not without one, nor with that of a stranger', async () => {
    const pool = await tlsPooler('verify-full');
    const ssl = { ca: root.cert };
    const client = await pool.client({ ssl: { ...ssl, key: clientCertificate.key, cert: clientCertificate.cert } });
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    const stranger = makeCertificate({ issuer: strangers, subject: [['CN', 'dave']] });
    const expired = makeCertificate({ issuer: root, subject: [['CN', 'dave']], validDays: [-10, -1] });
    for (const wrong of [{}, stranger, expired]) {
      const other = new Client({ connectionString: pool.url, ssl: { ...ssl, ...wrong } });
      await expect(other.connect()).rejects.toMatchObject({ code: '28000' });
    }
  });
});

it('serves postgres.js with TLS', async () => {
  const pool = await tlsPooler('require', { pool_mode: 'transaction' });
  const sql = postgres(pool.url, { ssl: { ca: root.cert }, max: 3 });
  const answers = await Promise.all([1, 2, 3, 4, 5].map((n) => sql`select ${n}::int + 1 as n`));
  expect(answers.map(([row]) => row?.['n'])).toEqual([2, 3, 4, 5, 6]);
  await sql.end();
});

/** What the model says: whether it connects, and whether with TLS. */
function expected(theirs: string, mode: string): 'TLS' | 'plain' | 'refused' {
  const needs = theirs === 'require' || theirs.startsWith('verify-');
  if (mode === 'disable') return needs ? 'refused' : 'plain';
  if (theirs === 'disable') return mode === 'require' ? 'refused' : 'plain';
  if (theirs === 'allow') return mode === 'require' ? 'TLS' : 'plain';
  return 'TLS';
}

async function ask(pool: PoolerFixture, options: string, env: Record<string, string>) {
  const target = `host=localhost hostaddr=${pool.host} port=${pool.port} user=dave dbname=${pool.database}`;
  const psql = new SystemProcess('psql', ['-XAt', '-d', `${target} ${options}`], env);
  psql.write('\\conninfo\nselect 40 + 2;\n');
  const { stdout, stderr } = await psql.end();
  return {
    isServed: /^42$/m.test(stdout),
    isSecured: /SSL connection|SSL Connection\|(?:true|on)/.test(stdout),
    stderr,
  };
}

describe('libpq', () => {
  const SSLMODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
  const OURS = ['disable', 'allow', 'prefer', 'require'] as const;

  for (const version of [15, 18] as const) {
    for (const mode of OURS) {
      itWith('psql')(`${version}, every sslmode, against client_tls_sslmode=${mode}`, async () => {
        const files = filesOf();
        const pool = await tlsPooler(mode, {}, files);
        const env = version === 18 ? libpq18() : {};
        for (const theirs of SSLMODES) {
          const { isServed, isSecured } = await ask(pool, `sslmode=${theirs} sslrootcert=${files.root}`, env);
          const what = isServed ? (isSecured ? 'TLS' : 'plain') : 'refused';
          expect({ theirs, what }).toEqual({ theirs, what: expected(theirs, mode) });
        }
      });
    }

    itWith('psql')(`${version} with a client certificate`, async () => {
      const pool = await tlsPooler('verify-ca');
      const { key, cert } = writeFiles({ key: clientCertificate.key, cert: clientCertificate.cert });
      const env = version === 18 ? libpq18() : {};
      expect(await ask(pool, `sslmode=require sslkey=${key} sslcert=${cert}`, env)).toMatchObject({ isServed: true });
      const without = await ask(pool, 'sslmode=require sslcert=/nonexistent', env);
      expect(without.isServed).toBe(false);
      expect(without.stderr).toContain('connection requires a valid client certificate');
    });
  }

  for (const version of [15, 18] as const) {
    itWith('psql')(`${version} binds the channel, and refuses one that cannot be bound`, async () => {
      const options = 'user=alice password=alice-secret channel_binding=require';
      const env = version === 18 ? libpq18() : {};
      const pool = await tlsPooler('prefer', { auth_type: 'scram-sha-256' });
      expect(await ask(pool, `${options} sslmode=require`, env)).toMatchObject({ isServed: true, isSecured: true });
      expect(await ask(pool, `${options} sslmode=disable`, env)).toMatchObject({ isServed: false });
    });
  }

  itWith('psql')('18 with sslnegotiation=direct', async () => {
    const files = filesOf();
    const pool = await tlsPooler('require', {}, files);
    const options = `sslnegotiation=direct sslmode=verify-full sslrootcert=${files.root}`;
    expect(await ask(pool, options, libpq18())).toMatchObject({ isServed: true, isSecured: true });
  });

  itWith('psql')('refuses a certificate with another name, and one of another root', async () => {
    const elsewhere = makeCertificate({ issuer: root, dns: ['elsewhere.example'] });
    const files = filesOf(elsewhere);
    const pool = await tlsPooler('require', {}, files);
    expect((await ask(pool, `sslmode=verify-full sslrootcert=${files.root}`, {})).stderr).toContain('does not match');
    const other = writeFiles({ root: strangers.cert });
    expect((await ask(pool, `sslmode=verify-ca sslrootcert=${other.root}`, {})).stderr).toContain('verify failed');
    expect(await ask(pool, `sslmode=verify-ca sslrootcert=${files.root}`, {})).toMatchObject({ isServed: true });
  });
});

it('takes new certificates with a reload, and keeps clients and old ones where it must', async () => {
  const files = filesOf();
  const pool = await tlsPooler('require', { expectedErrors: ['reload failed'] }, files);
  const before = await TcpClient.connectTls(pool);
  await before.logIn(login(pool));
  const next = makeCertificate({ issuer: root, dns: ['localhost'] });
  writeFileSync(files.cert, next.cert);
  // The key is still the old one's.
  expect(await pool.pooler.applyConfig(pool.pooler.config)).toMatchObject({ ok: false });
  expect(await shown(pool)).toEqual(ours.der);
  writeFileSync(files.key, next.key);
  expect(await pool.pooler.applyConfig(pool.pooler.config)).toMatchObject({ ok: true });
  expect(await shown(pool)).toEqual(next.der);
  expect((await before.query('select 1')).rows).toEqual([['1']]);
  await before.leave();
});

/** The certificate that a new client is shown. */
async function shown(pool: PoolerFixture): Promise<Buffer | undefined> {
  const client = await TcpClient.connectTls(pool);
  const certificate = client.peerCertificate;
  await client.drop();
  return certificate;
}

itWith('psql')('serves psql on a Unix socket without TLS, whatever is required', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-socket-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const pool = await tlsPooler('require', { unix_socket_dir: folder });
  for (const mode of ['disable', 'prefer'] as const) {
    const target = `host=${folder} port=${pool.port} user=dave dbname=${pool.database} sslmode=${mode}`;
    const psql = new SystemProcess('psql', ['-XAt', '-d', target]);
    psql.write('select 40 + 2;\n');
    expect((await psql.end()).stdout).toBe('42\n');
  }
});

describe('a handshake', () => {
  it('may be direct, with the right ALPN only', async () => {
    const pool = await tlsPooler('require');
    const client = await TcpClient.connectTls(pool, {}, 'direct');
    await client.logIn(login(pool));
    expect((await client.query('select 7')).rows).toEqual([['7']]);
    await client.leave();
    // Without ALPN the handshake itself succeeds, as in PostgreSQL, and nothing more does.
    const socket = secure({ host: pool.host, port: pool.port, rejectUnauthorized: false });
    socket.on('error', () => {});
    socket.on('secureConnect', () => socket.write(bytes.startup(login(pool))));
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close');
    expect(Buffer.concat(chunks).length).toBe(0);
    await expect(TcpClient.connectTls(pool, { ALPNProtocols: ['http/1.1'] }, 'direct')).rejects.toThrow();
  });

  it('byte by byte', async () => {
    const pool = await tlsPooler('require');
    const relay = connect({ host: pool.host, port: pool.port, noDelay: true });
    await once(relay, 'connect');
    relay.write(bytes.sslRequest);
    expect(String((await once(relay, 'data'))[0])).toBe('S');
    // Node's TLS on the one side, single bytes on the other.
    const { Duplex } = await import('node:stream');
    const slow = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        for (const byte of chunk) relay.write(Buffer.of(byte));
        done();
      },
    });
    relay.on('data', (chunk: Buffer) => slow.push(chunk));
    const socket = secure({ socket: slow, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    socket.write(bytes.startup(login(pool)));
    const [first] = (await once(socket, 'data')) as [Buffer];
    expect(String.fromCharCode(first[0]!)).toBe('R');
    socket.write(bytes.terminate);
    await once(relay, 'close');
  });

  it.each([
    ['tlsv1.2', 'TLSv1.2'],
    ['tlsv1.3', 'TLSv1.3'],
  ] as const)('client_tls_protocols=%s', async (setting, version) => {
    const pool = await tlsPooler('require', { client_tls_protocols: setting });
    const client = await TcpClient.connectTls(pool);
    expect(client.tlsVersion).toBe(version);
    await client.logIn(login(pool));
    await client.leave();
    const other = version === 'TLSv1.2' ? 'TLSv1.3' : 'TLSv1.2';
    await expect(TcpClient.connectTls(pool, { minVersion: other, maxVersion: other })).rejects.toThrow();
  });

  it('never takes up an old session, and does not renegotiate', async () => {
    const pool = await tlsPooler('require', { client_tls_ca_file: filesOf().root });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const first = await TcpClient.connectTls(pool, { maxVersion: version });
      await first.logIn(login(pool));
      const session = first.tlsSession;
      await first.leave();
      const second = await TcpClient.connectTls(pool, { maxVersion: version, ...(session ? { session } : {}) });
      expect(second.isTlsSessionReused).toBe(false);
      await second.logIn(login(pool));
      if (version === 'TLSv1.2') await expect(second.renegotiate()).rejects.toThrow(/renegotiation/i);
      await second.drop();
    }
  });

  it('that is followed by junk ends the connection', async () => {
    const pool = await tlsPooler('require');
    const plain = connect({ host: pool.host, port: pool.port });
    await once(plain, 'connect');
    plain.write(bytes.sslRequest);
    await once(plain, 'data');
    const socket = secure({ socket: plain, rejectUnauthorized: false });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    plain.write(Buffer.from('this is no record of TLS at all'));
    await once(plain, 'close');
  });
});
