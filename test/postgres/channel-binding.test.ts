/**
 * Channel binding against those who invented its details: our login at a PostgreSQL, and libpq's at our authenticator,
 * for each way in which a certificate can be signed. The TLS is Node's own here.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type Socket, connect as tcpConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket, connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AuthenticationStep, Authenticator } from '../../src/auth/authenticator.ts';
import { type ChannelBindingMode, channelBindingOf } from '../../src/auth/channel-binding.ts';
import { DerivedKeys } from '../../src/auth/derived-keys.ts';
import type { TransportSecurity } from '../../src/base/transport-security.ts';
import { NodeEnvironment } from '../../src/net/node-environment.ts';
import * as message from '../../src/protocol/server-messages.ts';
import { ServerLogin } from '../../src/server/server-login.ts';
import { librariesOf18, type PostgresCluster, startCluster, users } from '../support/postgres-cluster.ts';
import { itWith, SystemProcess } from '../support/system-clients.ts';
import { MessageReader, client as m } from '../support/wire.ts';

/** How the certificate is signed, for `openssl req`; and whether a channel can be bound to it. */
const KINDS = {
  'rsa-sha1': { argv: ['-newkey', 'rsa:2048', '-sha1'], binds: true },
  'rsa-sha256': { argv: ['-newkey', 'rsa:2048', '-sha256'], binds: true },
  'rsa-sha512': { argv: ['-newkey', 'rsa:2048', '-sha512'], binds: true },
  'ecdsa-sha384': { argv: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-sha384'], binds: true },
  'pss-sha384': { argv: ['-newkey', 'rsa:2048', '-sha384', '-sigopt', 'rsa_padding_mode:pss'], binds: true },
  'pss-default': {
    argv: ['-newkey', 'rsa:2048', '-sha1', '-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:20'],
    binds: true,
  },
  ed25519: { argv: ['-newkey', 'ed25519'], binds: false },
} as const;
type Kind = keyof typeof KINDS;
const kinds = Object.keys(KINDS) as Kind[];

const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-binding-'));
const certificateOf = (kind: Kind): string => join(folder, `${kind}.crt`);
const keyOf = (kind: Kind): string => join(folder, `${kind}.key`);

beforeAll(() => {
  chmodSync(folder, 0o711);
  for (const kind of kinds) {
    const files = ['-keyout', keyOf(kind), '-out', certificateOf(kind)];
    // SHA-1 is allowed only at this level.
    const config = ['-config', '/dev/null', '-subj', '/CN=localhost', '-days', '2'];
    execFileSync('openssl', ['req', '-x509', '-nodes', ...config, ...KINDS[kind].argv, ...files], { stdio: 'pipe' });
  }
});

afterAll(() => rmSync(folder, { recursive: true }));

const environment = new NodeEnvironment(() => {
  throw new Error('nothing is dialed here');
});

/** One byte of answer to SSLRequest, then TLS. Nothing is verified: what the certificate is worth is not tested here. */
async function secure(host: string, port: number): Promise<TLSSocket> {
  const socket = tcpConnect(port, host);
  socket.write(m.ssl());
  const [answer] = await new Promise<Buffer>((resolve, reject) => socket.once('data', resolve).once('error', reject));
  expect(answer).toBe('S'.charCodeAt(0));
  const secured = tlsConnect({ socket, rejectUnauthorized: false, ciphers: 'DEFAULT:@SECLEVEL=0' });
  await new Promise<void>((resolve, reject) => secured.once('secureConnect', resolve).once('error', reject));
  return secured;
}

const securityOf = (serverCertificate: Buffer | null): TransportSecurity => ({
  version: 'TLSv1.3',
  cipher: '',
  serverCertificate,
  peer: null,
});

/** Logs alice in at the server behind `socket`; 'in', or why not. */
function logIn(socket: TLSSocket, channelBinding: ChannelBindingMode): Promise<string> {
  return new Promise((resolve) => {
    const { password } = users.alice;
    const login = new ServerLogin(
      {
        user: 'alice',
        database: 'postgres',
        secret: () => ({ kind: 'plain', password }),
        requireAuth: [],
        channelBinding,
        parameters: [],
      },
      environment,
      new DerivedKeys(environment),
      {
        security: securityOf(socket.getPeerCertificate().raw),
        isPrivate: true,
        sendLogin: (bytes) => socket.write(bytes),
        onLoginDone: () => resolve('in'),
        onLoginFailed: (failure) => resolve(failure.kind === 'refused' ? failure.fields.message : failure.reason),
      },
    );
    const reader = new MessageReader();
    socket.on('data', (chunk: Buffer) => {
      for (const { type, body } of reader.push(chunk)) login.onMessage(type.charCodeAt(0), body, 0, body.length);
    });
    login.start(0);
  });
}

describe.each([15, 18] as const)('PostgreSQL %i', (version) => {
  let cluster: PostgresCluster;

  beforeAll(async () => {
    cluster = await startCluster({ version, settings: { ssl_ciphers: 'DEFAULT:@SECLEVEL=0' } });
  });

  afterAll(() => cluster.close());

  /** A connection over a certificate of this kind. */
  async function connectWith(kind: Kind): Promise<TLSSocket> {
    const [row] = await cluster.query<{ data_directory: string }>('show data_directory');
    const { uid, gid } = statSync(row!.data_directory);
    chownSync(keyOf(kind), uid, gid);
    chmodSync(keyOf(kind), 0o600);
    chmodSync(certificateOf(kind), 0o644);
    await cluster.query(`alter system set ssl_cert_file = '${certificateOf(kind)}'`);
    await cluster.query(`alter system set ssl_key_file = '${keyOf(kind)}'`);
    await cluster.query(`alter system set ssl = on`);
    await cluster.query('select pg_reload_conf()');
    const expected = pemToDer(certificateOf(kind));
    for (;;) {
      // The postmaster reads its configuration when it gets to it.
      const socket = await secure(cluster.host, cluster.port).catch(() => null);
      if (socket?.getPeerCertificate().raw.equals(expected) === true) return socket;
      socket?.destroy();
    }
  }

  test.each(kinds)(
    'lets us in by SCRAM-SHA-256-PLUS over a certificate signed by %s, or nobody could',
    async (kind) => {
      const socket = await connectWith(kind);
      const answer = await logIn(socket, 'require');
      socket.destroy();
      if (KINDS[kind].binds) expect(answer).toBe('in');
      else expect(answer).toContain('server_channel_binding');
    },
  );

  test('lets us in without it where it is turned off', async () => {
    const socket = await connectWith('ed25519');
    expect(await logIn(socket, 'disable')).toBe('in');
    socket.destroy();
  });

  test('refuses us over another certificate than the one we see', async () => {
    const socket = await connectWith('rsa-sha256');
    socket.getPeerCertificate = () => ({ raw: pemToDer(certificateOf('ecdsa-sha384')) }) as never;
    expect(await logIn(socket, 'require')).toMatch(/SCRAM channel binding check failed/);
    socket.destroy();
  });
});

/** Answers one client over TLS with this certificate: asks for SCRAM, and says how it went in an error. */
function serve(socket: Socket, kind: Kind): void {
  socket.once('data', () => {
    socket.write('S');
    const secured = new TLSSocket(socket, {
      isServer: true,
      cert: readFileSync(certificateOf(kind)),
      key: readFileSync(keyOf(kind)),
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    secured.on('error', () => {});
    answer(secured, securityOf(pemToDer(certificateOf(kind))));
  });
}

function answer(socket: TLSSocket, security: TransportSecurity): void {
  const say = (text: string) =>
    socket.end(message.errorResponse({ severity: 'FATAL', sqlstate: '57P01', message: text }));
  let mechanism = '';
  const authenticator = new Authenticator({
    authType: 'scram-sha-256',
    userName: 'alice',
    scramIterations: 4096,
    source: { usualKind: 'plain', lookup: () => ({ kind: 'plain', password: 'alice-secret' }) },
    channelBinding: channelBindingOf(security),
    keys: new DerivedKeys(environment),
    environment,
    onStep: (step: AuthenticationStep) => {
      if (step.outcome === 'refused') say(`refused: ${step.reason}`);
      else if (step.outcome === 'failed') say('failed');
      else if (step.outcome === 'continue') {
        const { request } = step;
        if (request.type === 'sasl') {
          socket.write(message.authenticationRequest(10, message.saslMechanisms(request.mechanisms)));
        } else if (request.type === 'saslContinue') socket.write(message.authenticationRequest(11, request.data));
      } else {
        for (const request of step.requests) {
          if (request.type === 'saslFinal') socket.write(message.authenticationRequest(12, request.data));
        }
        socket.write(message.authenticationRequest(0));
        say(`in by ${mechanism}`);
      }
    },
  });
  const reader = new MessageReader();
  socket.once('data', () => {
    authenticator.start();
    socket.on('data', (chunk: Buffer) => {
      for (const { body } of reader.push(chunk)) {
        if (mechanism === '') mechanism = body.toString('latin1', 0, body.indexOf(0));
        authenticator.receive(body);
      }
    });
  });
}

function pemToDer(path: string): Buffer {
  return Buffer.from(readFileSync(path, 'utf8').replaceAll(/-----[^-]*-----|\s/g, ''), 'base64');
}

/** What libpq says in the end. */
async function psql(kind: Kind, channelBinding: string, libraries: string | null): Promise<string> {
  const server = createServer((socket) =>
    serve(
      socket.on('error', () => {}),
      kind,
    ),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const url = `host=127.0.0.1 port=${address.port} user=alice dbname=x sslmode=require gssencmode=disable channel_binding=${channelBinding}`;
  const env = {
    PGPASSWORD: 'alice-secret',
    // Only psql's own certificate checks are at stake: nothing is verified with sslmode=require.
    OPENSSL_CONF: '/dev/null',
    ...(libraries === null ? {} : { LD_LIBRARY_PATH: libraries }),
  };
  const { stderr } = await new SystemProcess('psql', ['-X', '-w', '-c', '', url], env).end();
  server.close();
  return stderr;
}

describe.each([
  ['libpq of the system', null],
  ['libpq 18', librariesOf18()],
] as const)('%s', (_which, libraries) => {
  for (const kind of kinds) {
    itWith('psql')(`comes in with channel_binding=require over ${kind}, where it can`, async () => {
      const said = await psql(kind, 'require', libraries);
      if (KINDS[kind].binds) expect(said).toContain('in by SCRAM-SHA-256-PLUS');
      else expect(said).toContain('channel binding');
    });
  }

  itWith('psql')('comes in without it by disable, and over a certificate that nothing can be bound to', async () => {
    expect(await psql('rsa-sha256', 'disable', libraries)).toContain('in by SCRAM-SHA-256\n');
    expect(await psql('ed25519', 'prefer', libraries)).toContain('in by SCRAM-SHA-256\n');
  });
});
