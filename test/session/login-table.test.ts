/**
 * Every way to be let in, or not: how clients are asked × what is stored × where × by what password × with a server that
 * is there already or not × how that server asks × TLS on both sides or none, where SCRAM is bound to it. What must come of it is said by `expected`, which was written from the
 * meaning of the words and not from `src`. The server's record proves that of a client that is refused nothing arrives.
 */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { certificateHash } from '../../src/protocol/certificate-hash.ts';
import { HELLO, memoryClientTls, memoryServerTls } from '../support/memory-tls.ts';
import type { ScriptedSession } from '../support/scripted-session.ts';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, server as s, strings, type WireMessage } from '../support/wire.ts';
import { certificates } from '../unit/protocol/certificates.ts';
import { AUTH_USER, AuthQueryPeer } from './auth-query-peer.ts';
import { ScramPeerClient, ScramPeerServer } from './scram-peer.ts';

const USER = 'alice';
const PASSWORD = 'right';
const SQL = 'SELECT the-refused-one';

const AUTH_TYPES = ['trust', 'plain', 'md5', 'scram-sha-256'] as const;
const KINDS = ['plain', 'md5', 'scram', 'empty', 'absent'] as const;
const SOURCES = ['users', 'auth_file', 'auth_query'] as const;
const POOLS = ['cold', 'warm'] as const;
const PASSWORDS = ['right', 'wrong', ''] as const;
const SERVER_METHODS = ['none', 'cleartext', 'md5', 'scram'] as const;
const TLS = ['no TLS', 'TLS'] as const;

const MECHANISMS = { 'no TLS': 'SCRAM-SHA-256', TLS: 'SCRAM-SHA-256-PLUS' } as const;
const GS2_HEADERS = { 'no TLS': 'n,,', TLS: 'p=tls-server-end-point,,' } as const;
/** The pooler's and the server's, for SCRAM to be bound to. */
const CERTIFICATES = { pooler: certificates['ecdsa-sha384'], server: certificates['rsa-sha256'] };

interface Row {
  readonly authType: (typeof AUTH_TYPES)[number];
  readonly kind: (typeof KINDS)[number];
  readonly source: (typeof SOURCES)[number];
  readonly serverMethod: (typeof SERVER_METHODS)[number];
  readonly tls: (typeof TLS)[number];
}

/** What must come of it: not in, in but without a server, or in. */
function expected({ authType, kind, serverMethod }: Row, password: string): 'refused' | 'no server' | 'in' {
  if (kind === 'absent') return 'refused';
  if (authType !== 'trust') {
    // An MD5 hash does not help with SCRAM, an empty password with nothing.
    const isOfUse = kind !== 'empty' && !(kind === 'md5' && authType === 'scram-sha-256');
    if (!isOfUse || password !== PASSWORD) return 'refused';
  }
  switch (serverMethod) {
    case 'none':
      return 'in';
    case 'cleartext':
      return kind === 'plain' ? 'in' : 'no server';
    case 'md5':
      return kind === 'plain' || kind === 'md5' ? 'in' : 'no server';
    case 'scram':
      // A verifier alone does not: the client must have shown that it has the key.
      return kind === 'plain' || (kind === 'scram' && authType !== 'trust') ? 'in' : 'no server';
  }
}

const md5 = (...parts: (string | Buffer)[]): string => {
  const digest = createHash('md5');
  for (const part of parts) digest.update(part);
  return digest.digest('hex');
};

/** As PostgreSQL stores them; the salt is that of ScramPeerServer. */
const STORED = new Map(KINDS.map((kind) => [kind, stored(kind)]));

function stored(kind: Row['kind']): string | null {
  if (kind === 'absent') return null;
  if (kind === 'empty') return '';
  if (kind === 'plain') return PASSWORD;
  if (kind === 'md5') return `md5${md5(PASSWORD, USER)}`;
  const salt = 'W22ZaJ0SNY7soEsUEjb6gQ==';
  const salted = pbkdf2Sync(PASSWORD, Buffer.from(salt, 'base64'), 4096, 32, 'sha256');
  const hmac = (text: string): Buffer => createHmac('sha256', salted).update(text).digest();
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64');
  return `SCRAM-SHA-256$4096:${salt}$${storedKey}:${hmac('Server Key').toString('base64')}`;
}

function scene(row: Row): SessionBench {
  const { authType, kind, source, serverMethod, tls } = row;
  const secret = STORED.get(kind) ?? null;
  const inFile = source === 'auth_file' && secret !== null ? { [USER]: secret } : {};
  // What cannot be written into `users` at all is a user who does not exist.
  const setup: BenchSetup = {
    secrets: { [AUTH_USER]: 'x', ...inFile },
    ...(source === 'users' && secret !== null && secret !== '' ? { users: { [USER]: { password: secret } } } : {}),
    ...(tls === 'no TLS'
      ? {}
      : {
          clientSecurity: memoryClientTls({ isRequired: true, security: { serverCertificate: CERTIFICATES.pooler } }),
          serverSecurity: memoryServerTls('required', 'required', { serverCertificate: CERTIFICATES.server }),
        }),
  };
  const bench = sessionBench(
    {
      auth_type: authType,
      admin_users: USER,
      // Cleartext is a way of its own in this table.
      server_require_auth: 'none,password,md5,scram-sha-256',
      ...(source === 'auth_query' ? { auth_user: AUTH_USER } : {}),
    },
    setup,
  );
  bench.expectServers('login_failed');
  if (tls === 'TLS') bench.postgres.sslAnswer = Buffer.from('S');
  const peer = new AuthQueryPeer(bench, (name) => (name === USER && secret !== null ? [[USER, secret]] : []));
  const { onStartup } = bench.postgres;
  bench.postgres.onStartup = (session) => {
    if (session.startup.get('user') === AUTH_USER) onStartup?.(session);
    else ask(session, serverMethod, tls);
  };
  expect(peer.sessions).toEqual([]);
  return bench;
}

/** A server that has PASSWORD for everybody. */
function ask(session: ScriptedSession, method: Row['serverMethod'], tls: Row['tls']): void {
  if (method === 'none') return session.login();
  const peer = new ScramPeerServer(PASSWORD);
  const { onData } = session.stream;
  const decide = (isRight: boolean): void => {
    if (!isRight) return session.refuseLogin('28P01', 'password authentication failed');
    session.scripted = false;
    session.stream.onData = onData;
    session.login();
  };
  let step = 0;
  session.takeOver();
  session.stream.onData = (chunk) => {
    onData(chunk);
    if (session.isGone) return;
    const { body } = session.received[step++]!;
    if (method === 'cleartext') return decide(strings(body)[0] === PASSWORD);
    if (method === 'md5') return decide(strings(body)[0] === `md5${md5(md5(PASSWORD, USER), 'salt')}`);
    if (step === 1) {
      expect(strings(body)[0]).toBe(MECHANISMS[tls]);
      return session.send(s.authentication(11, peer.first(body.toString('utf8', body.indexOf(0) + 5))));
    }
    const final = peer.final(body.toString());
    expect(peer.binding).toEqual(Buffer.concat([Buffer.from(GS2_HEADERS[tls]), boundTo(tls, CERTIFICATES.server)]));
    if (final !== null) session.send(s.authentication(12, final));
    decide(final !== null);
  };
  if (method === 'cleartext') session.send(s.authentication(3));
  else if (method === 'md5') session.send(s.authentication(5, Buffer.from('salt')));
  else if (tls === 'TLS') session.send(s.authentication(10, Buffer.from('SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0')));
  else session.send(s.authentication(10, Buffer.from('SCRAM-SHA-256\0\0')));
}

function boundTo(tls: Row['tls'], certificate: Buffer): Buffer {
  return tls === 'no TLS' ? Buffer.alloc(0) : certificateHash(certificate)!;
}

/** Logs in, answering whatever is asked, with SQL right behind the last answer; returns the last messages. */
async function attempt(
  bench: SessionBench,
  tls: Row['tls'],
  password: string,
  { database = 'app', sql = SQL } = {},
): Promise<{ client: SessionClient; end: WireMessage[] }> {
  const client = bench.connect();
  const scram = new ScramPeerClient(password, GS2_HEADERS[tls], boundTo(tls, CERTIFICATES.pooler));
  if (tls === 'TLS') {
    client.sendNegotiation('ssl');
    await bench.settle();
    client.send(HELLO);
    await bench.settle();
  }
  client.send(m.startup({ user: USER, database }));
  for (;;) {
    await bench.settle();
    const messages = client.take();
    const [first] = messages;
    const code = first?.type === 'R' ? first.body.readInt32BE(0) : -1;
    if (code === 3) client.send(m.password(password), m.query(sql));
    else if (code === 5) {
      client.send(m.password(`md5${md5(md5(password, USER), first!.body.subarray(4))}`), m.query(sql));
    } else if (code === 10) client.send(m.saslInitial(MECHANISMS[tls], scram.first()));
    else if (code === 11) client.send(m.saslResponse(scram.final(first!.body.toString('utf8', 4))), m.query(sql));
    else return { client, end: messages };
  }
}

function sessionsOf(bench: SessionBench): ScriptedSession[] {
  return bench.postgres.sessions.filter(({ startup }) => startup.get('user') !== AUTH_USER);
}

function sqlThatArrived(bench: SessionBench): string[] {
  return bench.postgres.sessions.flatMap((session) => session.queries.filter((query) => query === SQL));
}

/** What came of it, in the words of `expected`. */
function outcome(end: readonly WireMessage[]): string {
  const error = end.find(({ type }) => type === 'E');
  if (error === undefined) return end.some(({ type }) => type === 'Z') ? 'in' : 'nothing';
  const fields = errorFields(error);
  return fields.get('C') === '28P01' && fields.get('M') === 'password authentication failed' ? 'refused' : 'no server';
}

const rows: Row[] = AUTH_TYPES.flatMap((authType) =>
  SOURCES.flatMap((source) =>
    KINDS.flatMap((kind) =>
      SERVER_METHODS.flatMap((serverMethod) => TLS.map((tls) => ({ authType, source, kind, serverMethod, tls }))),
    ),
  ),
);

describe.each(AUTH_TYPES)('auth_type %s', (authType) => {
  describe.each(SOURCES)('with %s', (source) => {
    const chosen = rows.filter((row) => row.authType === authType && row.source === source);
    test.each(chosen)('$kind, server asks $serverMethod, $tls', async (row) => {
      // An empty password cannot be written into `users`.
      const meant: Row = source === 'users' && row.kind === 'empty' ? { ...row, kind: 'absent' } : row;
      // A pool that nobody can warm is cold.
      for (const pool of expected(meant, PASSWORD) === 'in' ? POOLS : (['cold'] as const)) {
        for (const password of PASSWORDS) {
          const bench = scene(row);
          if (pool === 'warm') {
            const first = await attempt(bench, row.tls, PASSWORD);
            expect(outcome(first.end)).toBe('in');
            if (authType === 'trust') first.client.query(SQL);
          }
          const arrived = sqlThatArrived(bench).length;
          const opened = sessionsOf(bench).length;
          const { client, end } = await attempt(bench, row.tls, password);
          const what = `${pool}, password "${password}"`;
          const must = expected(meant, password);
          // A server's refusal of us may have the same words.
          if (must === 'no server') expect(['refused', 'no server'], what).toContain(outcome(end));
          else expect(outcome(end), what).toBe(must);
          if (must === 'in') {
            if (authType === 'trust') client.query(SQL);
            expect(sqlThatArrived(bench), what).toHaveLength(arrived + 1);
            expect(new Set(sessionsOf(bench).map(({ startup }) => startup.get('user')))).toEqual(new Set([USER]));
          } else {
            expect(client.isEnded, what).toBe(true);
            expect(sqlThatArrived(bench), what).toHaveLength(arrived);
            if (must === 'refused') expect(sessionsOf(bench), what).toHaveLength(opened);
          }
        }
      }
    });
  });
});

describe('the console', () => {
  const chosen = rows.filter(({ serverMethod }) => serverMethod === 'none');
  test.each(chosen)('auth_type $authType, $kind in $source, $tls', async (row) => {
    // No PostgreSQL decides who may enter it.
    const isKnown = row.source !== 'auth_query' && !(row.source === 'users' && row.kind === 'empty');
    const meant: Row = isKnown ? row : { ...row, kind: 'absent' };
    for (const password of PASSWORDS) {
      const bench = scene(row);
      const { client, end } = await attempt(bench, row.tls, password, { database: 'pgbouncer', sql: 'PAUSE' });
      const must = expected(meant, password);
      expect(outcome(end), password).toBe(must);
      if (must === 'in' && row.authType === 'trust') client.query('PAUSE');
      if (must === 'refused') expect(client.isEnded).toBe(true);
      expect(bench.router.states.isEverythingPaused, password).toBe(must === 'in');
      expect(bench.postgres.streams.size).toBe(0);
    }
  });
});
