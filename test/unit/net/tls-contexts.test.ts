import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, Socket } from 'node:net';
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WRITE_GONE, WRITE_LENT } from '../../../src/base/transport.ts';
import { ConfigError } from '../../../src/config/config-error.ts';
import { configFromObject } from '../../../src/config/load-config.ts';
import { SocketFactory } from '../../../src/net/socket-factory.ts';
import { TlsContexts } from '../../../src/net/tls-contexts.ts';
import { TlsError } from '../../../src/net/tls-error.ts';
import { Wire } from '../../../src/net/wire.ts';
import { type Certificate, makeAuthority, makeCertificate, writeFiles } from '../../support/certificates.ts';
import { SecuredConnection, TlsListener } from '../../support/tls-listener.ts';

const root = makeAuthority();
const strangers = makeAuthority('another root');
const ours = makeCertificate({ issuer: root, dns: ['localhost'] });

function settingsOf(more: Readonly<Record<string, unknown>> = {}, certificate: Certificate = ours) {
  const files = writeFiles({ key: certificate.key, cert: certificate.cert, root: root.cert });
  return {
    files,
    settings: {
      client_tls_sslmode: 'require',
      client_tls_key_file: files.key,
      client_tls_cert_file: files.cert,
      client_tls_ca_file: files.root,
      ...more,
    },
  };
}

async function dial(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({
    socket: options.socket ?? new Socket({ allowHalfOpen: true }).connect(port, '127.0.0.1'),
    rejectUnauthorized: false,
    ALPNProtocols: ['postgresql'],
    ...options,
  });
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}

function contextsOf(settings: Readonly<Record<string, unknown>>): TlsContexts {
  return new TlsContexts(configFromObject({ pgbouncer: settings, databases: { '*': 'host=127.0.0.1' } }).settings);
}

/** What the ConfigError says that `action` throws. */
function complaint(action: () => void): string {
  try {
    action();
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'none';
}

describe.each([true, false])('an accepted connection (direct handles: %s)', (directIo) => {
  test('knows who its peer is, if the certificate can be verified', async () => {
    const listener = await TlsListener.open({ ...settingsOf(), directIo });
    const certificates = [
      makeCertificate({ issuer: root, subject: [['CN', 'dave']] }),
      makeCertificate({ issuer: strangers, subject: [['CN', 'dave']] }),
      makeCertificate({ issuer: root, subject: [['CN', 'dave']], validDays: [-10, -1] }),
      makeCertificate({ issuer: root, subject: [['CN', 'dave\0.example']] }),
      null,
    ];
    const peers = [];
    for (const [index, certificate] of certificates.entries()) {
      const { key, cert } = certificate ?? {};
      const socket = await dial(listener.port, { ...(key ? { key } : {}), ...(cert ? { cert } : {}) });
      const connection = await listener.connection(index);
      await connection.until(({ security }) => security !== null);
      peers.push(connection.security?.peer ?? null);
      expect(connection.security?.serverCertificate).toEqual(ours.der);
      expect(connection.security?.version).toBe('TLSv1.3');
      expect(connection.security?.cipher).toBe('TLS_AES_256_GCM_SHA384');
      socket.destroy();
    }
    const nul = { commonName: null, distinguishedName: 'CN=dave\\00.example' };
    expect(peers).toEqual([{ commonName: 'dave', distinguishedName: 'CN=dave' }, null, null, nul, null]);
  });

  test('takes and sends bytes, FIN by FIN', async () => {
    const listener = await TlsListener.open({ ...settingsOf(), directIo });
    const socket = await dial(listener.port);
    const connection = await listener.connection();
    socket.write('hello');
    await connection.until(({ text }) => text === 'hello');
    connection.wire.send(Buffer.from('hi'));
    expect(String((await once(socket, 'data'))[0])).toBe('hi');
    socket.end();
    await connection.until(({ isEnded }) => isEnded);
    connection.wire.send(Buffer.from('still here'));
    expect(String((await once(socket, 'data'))[0])).toBe('still here');
    connection.wire.end();
    await once(socket, 'end');
    await connection.until(({ isClosed }) => isClosed);
    expect(connection.error).toBeNull();
  });

  test('does not send more than its peer takes, and says when there is room again', async () => {
    const listener = await TlsListener.open({ ...settingsOf(), directIo });
    const socket = await dial(listener.port);
    let received = 0;
    socket.on('data', (bytes: Buffer) => {
      for (let at = 0; at < bytes.length; at += 1000) {
        const expected = 65 + (Math.floor((received + at) / piece.length) % 26);
        if (bytes[at] !== expected) throw new Error(`wrong byte at ${received + at}`);
      }
      received += bytes.length;
    });
    socket.pause();
    const connection = await listener.connection();
    await connection.until(({ security }) => security !== null);
    // Each piece is overwritten when the wire says that nothing points into it.
    const piece = Buffer.alloc(60_000);
    let sent = 0;
    let isFull = false;
    for (let letter = 0; sent < 400 * piece.length; letter++) {
      piece.fill(65 + (letter % 26));
      const result = connection.wire.sendView(piece, 0, piece.length);
      sent += piece.length;
      // One piece in each turn: Node's stream has none to wait behind, and keeps no pointer.
      expect(result).not.toBe(WRITE_LENT);
      if (result === WRITE_GONE) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      if (connection.wire.unsentBytes > 0 && !isFull) {
        isFull = true;
        expect(sent).toBeLessThan(20_000_000);
        socket.resume();
      }
      const { drains } = connection;
      await connection.until((now) => now.drains > drains);
    }
    connection.wire.end();
    await once(socket, 'end');
    expect(received).toBe(sent);
    expect(isFull).toBe(true);
  });

  test('copies what it is to copy, however many pieces there are', async () => {
    const listener = await TlsListener.open({ ...settingsOf(), directIo });
    const socket = await dial(listener.port);
    const connection = await listener.connection();
    await connection.until(({ security }) => security !== null);
    const memory = Buffer.alloc(1000);
    for (const letter of 'abcdefgh') {
      memory.fill(letter);
      connection.wire.sendCopy(memory, 0, memory.length);
    }
    memory.fill('x');
    connection.wire.end();
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'end');
    expect(Buffer.concat(chunks).toString()).toBe('abcdefgh'.replaceAll(/./g, (letter) => letter.repeat(1000)));
  });

  test('sends no record of more than 8 KB', async () => {
    const listener = await TlsListener.open({ ...settingsOf(), directIo });
    const socket = await dial(listener.port);
    const connection = await listener.connection();
    await connection.until(({ security }) => security !== null);
    connection.wire.send(Buffer.alloc(60_000));
    const sizes: number[] = [];
    socket.on('data', (chunk: Buffer) => sizes.push(chunk.length));
    connection.wire.end();
    await once(socket, 'end');
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(60_000);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(8192);
  });

  test('ends with a TlsError where the handshake fails', async () => {
    const listener = await TlsListener.open({ ...settingsOf(), directIo });
    const socket = connect({
      host: '127.0.0.1',
      port: listener.port,
      rejectUnauthorized: false,
      maxVersion: 'TLSv1.1',
    });
    socket.on('error', () => {});
    const connection = await listener.connection();
    await connection.until(({ isClosed }) => isClosed);
    expect(connection.error).toBeInstanceOf(TlsError);
    expect(connection.error?.message).toMatch(/^TLS handshake failed: [a-z ]+$/);
  });

  test('ends with a RST of its peer', async () => {
    const listener = await TlsListener.open({ ...settingsOf(), directIo });
    const plain = new Socket().connect(listener.port, '127.0.0.1');
    const socket = await dial(listener.port, { socket: plain });
    const connection = await listener.connection();
    await connection.until(({ security }) => security !== null);
    connection.wire.send(Buffer.from('hi'));
    await once(socket, 'data');
    plain.resetAndDestroy();
    await connection.until(({ isClosed }) => isClosed);
  });
});

/** A server's side of TLS, by Node, and the pooler's connection to it, secured at once. */
async function dialServer(
  certificate: Certificate,
  settings: Readonly<Record<string, unknown>>,
  {
    host = 'db.example',
    ALPNProtocols = ['postgresql'],
  }: { readonly host?: string; readonly ALPNProtocols?: string[] } = {},
): Promise<SecuredConnection> {
  const { root: ca } = writeFiles({ root: root.cert });
  const contexts = contextsOf({ server_tls_ca_file: ca, ...settings });
  const server = createServer({ key: certificate.key, cert: certificate.cert, ALPNProtocols }, (socket) => {
    socket.on('error', () => {});
    socket.write('hello');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const factory = new SocketFactory({ direct: true, poison: true, keepAlive: false, keepAliveDelayMs: 0 });
  const connection = new SecuredConnection((plain, handler) => contexts.plan(host, 'first')!.connect(plain, handler));
  connection.wire = new Wire(connection, (handler) => factory.dial({ host: '127.0.0.1', port }, handler));
  onTestFinished(() => {
    connection.wire.destroy();
    server.close();
  });
  await connection.until(({ security, isClosed }) => security !== null || isClosed);
  return connection;
}

describe('a dialed connection', () => {
  const named = makeCertificate({ issuer: root, subject: [['CN', 'server']], dns: ['db.example'] });
  const full = { server_tls_sslmode: 'verify-full' };

  test('knows its server by the certificate, and takes its bytes', async () => {
    const connection = await dialServer(named, full);
    expect(connection.security).toMatchObject({ version: 'TLSv1.3', serverCertificate: named.der });
    expect(connection.security?.peer).toEqual({ commonName: 'server', distinguishedName: 'CN=server' });
    await connection.until(({ text }) => text === 'hello');
  });

  test('with require nobody has looked who the server is', async () => {
    const connection = await dialServer(makeCertificate(), { server_tls_sslmode: 'require' });
    expect(connection.security).toMatchObject({ peer: null });
  });

  test.each([
    [
      'with another name',
      'verify-full',
      named,
      'elsewhere.example',
      'the server\'s certificate is not for host "elsewhere.example"',
    ],
    [
      'that has expired',
      'verify-ca',
      makeCertificate({ issuer: root, validDays: [-9, -1] }),
      'db.example',
      'certificate has expired',
    ],
    [
      'of another root',
      'verify-ca',
      makeCertificate({ issuer: strangers }),
      'db.example',
      'unable to verify the first certificate',
    ],
    [
      'that signs itself',
      'verify-full',
      makeCertificate({ dns: ['db.example'] }),
      'db.example',
      'self-signed certificate',
    ],
  ] as const)('does not take a certificate %s (%s)', async (_what, mode, certificate, host, words) => {
    const connection = await dialServer(certificate, { server_tls_sslmode: mode }, { host });
    expect(connection.security).toBeNull();
    expect(connection.error).toBeInstanceOf(TlsError);
    expect(connection.error?.message).toContain(words);
    expect(connection.text).toBe('');
  });

  test('that is direct needs a server that knows what it speaks', async () => {
    const direct = { ...full, server_tls_sslnegotiation: 'direct' };
    expect((await dialServer(named, direct)).security).not.toBeNull();
    const other = await dialServer(named, direct, { ALPNProtocols: [] });
    expect(other.error?.message).toContain('ALPN');
    // One that asked before may do without.
    expect((await dialServer(named, full, { ALPNProtocols: [] })).security).not.toBeNull();
  });

  test('is not for a Unix socket', () => {
    const { root: ca } = writeFiles({ root: root.cert });
    expect(contextsOf({ ...full, server_tls_ca_file: ca }).plan('/run/postgresql', 'first')).toBeNull();
  });

  test.each([
    ['disable', null, null],
    ['allow', null, true],
    ['prefer', false, null],
    ['require', true, true],
    ['verify-full', true, true],
  ] as const)('%s is TLS required: %s first, %s second (null: none)', (mode, first, second) => {
    const contexts = contextsOf({ server_tls_sslmode: mode });
    expect(contexts.plan('db.example', 'first')?.isRequired ?? null).toBe(first);
    expect(contexts.plan('db.example', 'second')?.isRequired ?? null).toBe(second);
  });
});

describe('the files', () => {
  test('of a pair that do not belong together are refused', () => {
    const { files, settings } = settingsOf();
    writeFileSync(files.key, makeCertificate().key);
    expect(complaint(() => contextsOf(settings))).toBe(
      `${files.key}: the key does not belong to the certificate in ${files.cert}`,
    );
  });

  test.each([
    ['key', '', 'no private key in PEM'],
    ['key', 'not a key', 'no private key in PEM'],
    ['cert', '', 'no certificate in PEM'],
    ['cert', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', 'no certificate in PEM'],
    ['root', 'not a certificate', 'no certificate in PEM'],
  ] as const)('%s: %j', (file, text, message) => {
    const { files, settings } = settingsOf();
    writeFileSync(files[file], text);
    expect(complaint(() => contextsOf(settings))).toBe(`${files[file]}: ${message}`);
  });

  test('that are not there are named', () => {
    const { settings } = settingsOf({ client_tls_key_file: '/nonexistent/key.pem' });
    expect(complaint(() => contextsOf(settings))).toBe('/nonexistent/key.pem: cannot be read: no such file');
  });

  test.each([
    ['client_tls_ciphers', 'NO-SUCH-CIPHER', /^client_tls_… cannot be used: no cipher match$/],
    ['client_tls13_ciphers', 'TLS_NO_SUCH', /^client_tls_… cannot be used: /],
    ['client_tls_ecdhcurve', 'no-such-curve', /^client_tls_… cannot be used: /],
  ])('%s=%s cannot be used', (name, value, message) => {
    expect(complaint(() => contextsOf(settingsOf({ [name]: value }).settings))).toMatch(message);
    // And OpenSSL holds no grudge against what is good.
    expect(complaint(() => contextsOf(settingsOf().settings))).toBe('none');
  });

  test('are read again, and handshakes from then on use them; those that stand stay', async () => {
    const { files, settings } = settingsOf();
    const listener = await TlsListener.open({ settings });
    const before = await dial(listener.port);
    const next = makeCertificate({ issuer: root, dns: ['localhost'] });
    writeFileSync(files.key, next.key);
    writeFileSync(files.cert, next.cert);
    listener.reload();
    const after = await dial(listener.port);
    expect(before.getPeerX509Certificate()?.raw).toEqual(ours.der);
    expect(after.getPeerX509Certificate()?.raw).toEqual(next.der);
    const connection = await listener.connection(0);
    before.write('still here');
    await connection.until(({ text }) => text === 'still here');
  });

  test('that are broken then change nothing', async () => {
    const { files, settings } = settingsOf();
    const listener = await TlsListener.open({ settings });
    // Half of a new pair is there.
    writeFileSync(files.cert, makeCertificate({ issuer: root }).cert);
    expect(complaint(() => listener.reload())).toMatch(/does not belong/);
    expect((await dial(listener.port)).getPeerX509Certificate()?.raw).toEqual(ours.der);
    writeFileSync(files.cert, '');
    expect(complaint(() => listener.reload())).toMatch(/no certificate/);
    expect((await dial(listener.port)).getPeerX509Certificate()?.raw).toEqual(ours.der);
  });
});

describe('ciphers and curves', () => {
  test.each([
    [
      { client_tls_protocols: 'tlsv1.2', client_tls_ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
      'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
    ],
    [{ client_tls13_ciphers: 'TLS_CHACHA20_POLY1305_SHA256' }, 'TLS_CHACHA20_POLY1305_SHA256'],
    [{ client_tls_ciphers: 'TLS_AES_128_GCM_SHA256:HIGH' }, 'TLS_AES_128_GCM_SHA256'],
    [{ client_tls_ciphers: 'all' }, 'TLS_AES_256_GCM_SHA384'],
    [{ client_tls_ecdhcurve: 'secp384r1' }, 'TLS_AES_256_GCM_SHA384'],
  ])('%j', async (settings, cipher) => {
    const listener = await TlsListener.open(settingsOf(settings));
    const socket = await dial(listener.port);
    expect(socket.getCipher().standardName).toBe(cipher);
    if ('client_tls_ecdhcurve' in settings) {
      expect(socket.getEphemeralKeyInfo()).toMatchObject({ name: 'secp384r1' });
    }
  });

  test.each([
    ['auto', 'auto', 'ECDH'],
    ['none', 'auto', 'DH'],
  ])('ecdhcurve=%s, dheparams=%s: %s', async (curve, dhe, type) => {
    const certificate = makeCertificate({ algorithm: 'rsa-sha256' });
    const more = { client_tls_ecdhcurve: curve, client_tls_dheparams: dhe, client_tls_protocols: 'tlsv1.2' };
    const listener = await TlsListener.open(settingsOf(more, certificate));
    const socket = await dial(listener.port);
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ type });
  });

  test('of TLS 1.0 need a lower level of security in the list', async () => {
    const old = { client_tls_protocols: 'all', client_tls_ciphers: 'DEFAULT:@SECLEVEL=0' };
    const listener = await TlsListener.open(settingsOf(old));
    const socket = await dial(listener.port, {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1',
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    expect(socket.getProtocol()).toBe('TLSv1');
  });

  test('with neither of them no key is ephemeral', async () => {
    const certificate = makeCertificate({ algorithm: 'rsa-sha256' });
    const none = { client_tls_ecdhcurve: 'none', client_tls_dheparams: 'none', client_tls_protocols: 'tlsv1.2' };
    const listener = await TlsListener.open(settingsOf(none, certificate));
    expect((await dial(listener.port)).getEphemeralKeyInfo()).toEqual({});
  });
});
