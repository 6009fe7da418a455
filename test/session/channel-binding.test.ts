/**
 * SCRAM-SHA-256-PLUS on both sides of the pooler, over connections that say of themselves that they are TLS: who binds,
 * what to, and every way of not doing so although it was asked for.
 */
import { describe, expect, test } from 'vitest';
import type { TransportSecurity } from '../../src/base/transport-security.ts';
import { certificateHash } from '../../src/protocol/certificate-hash.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s, strings } from '../support/wire.ts';
import { certificates } from '../unit/protocol/certificates.ts';
import { ScramPeerClient, ScramPeerServer } from './scram-peer.ts';

const PLUS = 'SCRAM-SHA-256-PLUS';
const PLAIN = 'SCRAM-SHA-256';
const HEADER = 'p=tls-server-end-point,,';
const HASH = certificateHash(certificates['ecdsa-sha384'])!;

const secured = (serverCertificate: Buffer): TransportSecurity => ({
  version: 'TLSv1.3',
  cipher: 'TLS_AES_256_GCM_SHA384',
  serverCertificate,
  peer: null,
});
const TLS = secured(certificates['ecdsa-sha384']);
const UNBINDABLE = secured(certificates.ed25519);

/** A client that was asked for SASL over a connection with this certificate of ours. */
async function asked(security: TransportSecurity | null) {
  const bench = sessionBench({ auth_type: 'scram-sha-256' });
  const client = bench.connect();
  bench.transportOf(client).security = security;
  client.sendStartup();
  await bench.settle();
  const [request] = client.take();
  return { bench, client, offered: strings(request!.body, 4).filter((name) => name !== '') };
}

/** How a client is answered that logs in by `mechanism` with this header and data. */
async function logIn(mechanism: string, header: string, data: Buffer, password = 'app-secret'): Promise<string> {
  const { bench, client } = await asked(TLS);
  const peer = new ScramPeerClient(password, header, data);
  const challenge = await ask(client, m.saslInitial(mechanism, peer.first()));
  if (challenge[0]?.type !== 'R') return summaryOf(challenge);
  const answers = await ask(client, m.saslResponse(peer.final(challenge[0].body.toString('utf8', 4))));
  return summaryOf(answers);

  async function ask(to: SessionClient, message: Buffer) {
    to.send(message);
    await bench.settle();
    return to.take();
  }
}

const summaryOf = (messages: readonly { readonly type: string }[]): string => messages.map(({ type }) => type).join('');

describe('clients over TLS', () => {
  test('are offered it first, if the certificate has a hash to bind to', async () => {
    expect((await asked(TLS)).offered).toEqual([PLUS, PLAIN]);
    expect((await asked(UNBINDABLE)).offered).toEqual([PLAIN]);
    expect((await asked(null)).offered).toEqual([PLAIN]);
  });

  test('come in by it, and without it where they cannot bind', async () => {
    expect(await logIn(PLUS, HEADER, HASH)).toMatch(/^RRS+KZ$/);
    expect(await logIn(PLAIN, 'n,,', Buffer.alloc(0))).toMatch(/^RRS+KZ$/);
  });

  test.each([
    ['of another certificate', PLUS, HEADER, certificateHash(certificates['rsa-sha256'])!],
    ['that is empty', PLUS, HEADER, Buffer.alloc(0)],
    ['of another type', PLUS, 'p=tls-unique,,', HASH],
    ['with a mechanism that has none', PLAIN, HEADER, HASH],
  ])('with data %s are refused', async (_what, mechanism, header, data) => {
    expect(await logIn(mechanism, header, data)).toBe('E');
  });

  test('that have not seen our offer are refused: it was taken away on its way', async () => {
    expect(await logIn(PLAIN, 'y,,', Buffer.alloc(0))).toBe('E');
    expect(await logIn(PLUS, 'y,,', Buffer.alloc(0))).toBe('E');
    expect(await logIn(PLUS, 'n,,', Buffer.alloc(0))).toBe('E');
  });

  test('with the wrong password are refused', async () => {
    expect(await logIn(PLUS, HEADER, HASH, 'wrong')).toBe('E');
  });
});

/** What a login of ours comes to at a server that offers `mechanisms` over `security`, and what the server has seen. */
async function serverLogin(
  settings: BenchSettings,
  security: TransportSecurity | null,
  question: Buffer | readonly string[],
) {
  const bench = sessionBench(settings, {
    databases: { app: { host: '10.0.0.1', user: 'app', password: 'secret' } },
  });
  bench.expectServers('login_failed');
  const peer = new ScramPeerServer('secret');
  const said: string[] = [];
  bench.postgres.onStartup = (session) => {
    bench.postgres.transportOf(session).security = security;
    const original = session.stream.onData;
    session
      .takeOver()
      .send(question instanceof Buffer ? question : s.authentication(10, Buffer.from(`${question.join('\0')}\0\0`)));
    session.stream.onData = (chunk) => {
      original(chunk);
      if (session.isLoggedIn || session.isGone) return;
      const { body } = session.received[said.length]!;
      said.push(body.toString('latin1'));
      if (said.length === 1) {
        session.send(s.authentication(11, peer.first(body.toString('utf8', body.indexOf(0) + 5))));
        return;
      }
      const final = peer.final(body.toString());
      if (final === null) return session.refuseLogin('28P01', 'no');
      session.send(s.authentication(12, final));
      session.stream.onData = original;
      session.scripted = false;
      session.login();
    };
  };
  const client = bench.connect();
  client.sendStartup();
  await bench.settle();
  return { answer: client.takeSummary().slice(-8), said, peer, log: JSON.stringify(bench.log) };
}

describe('servers over TLS', () => {
  test('that offer it are spoken to by it, bound to their certificate', async () => {
    for (const server_channel_binding of ['prefer', 'require']) {
      const { answer, said, peer } = await serverLogin({ server_channel_binding }, TLS, [PLUS, PLAIN]);
      expect(answer).toContain('Z(I)');
      expect(said[0]!.startsWith(`${PLUS}\0`)).toBe(true);
      expect(peer.header).toBe(HEADER);
      expect(peer.binding).toEqual(Buffer.concat([Buffer.from(HEADER), HASH]));
    }
  });

  test('that do not offer it are told that we could, so that they notice if somebody took their offer away', async () => {
    const { answer, peer } = await serverLogin({}, TLS, [PLAIN]);
    expect(answer).toContain('Z(I)');
    expect(peer.header).toBe('y,,');
  });

  test('are told nothing of it where it is turned off', async () => {
    const { answer, peer, said } = await serverLogin({ server_channel_binding: 'disable' }, TLS, [PLUS, PLAIN]);
    expect(answer).toContain('Z(I)');
    expect(said[0]!.startsWith(`${PLAIN}\0`)).toBe(true);
    expect(peer.header).toBe('n,,');
  });

  test.each([
    ['without an offer of it', TLS, [PLAIN]],
    ['with a certificate that cannot be bound to', UNBINDABLE, [PLUS, PLAIN]],
    ['without TLS', null, [PLUS, PLAIN]],
    ['that ask for the password itself', TLS, s.authentication(3)],
    ['that ask for MD5', TLS, s.authentication(5, Buffer.from('salt'))],
    ['that ask for nothing', TLS, s.authentication(0)],
  ])('%s get nothing where it is required', async (_what, security, question) => {
    const { answer, said } = await serverLogin({ server_channel_binding: 'require' }, security, question);
    expect(answer).toBe('E(08006)');
    expect(said).toEqual([]);
  });

  test('that offer it without TLS, or with a certificate that cannot be bound to, get nothing by default', async () => {
    for (const security of [null, UNBINDABLE]) {
      const { answer, said, log } = await serverLogin({}, security, [PLUS, PLAIN]);
      expect(answer).toBe('E(08006)');
      expect(said).toEqual([]);
      expect(log).toContain('server_channel_binding');
    }
  });
});
