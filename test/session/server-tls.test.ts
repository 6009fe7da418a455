/** TLS to servers as a pool sees it: every sslmode against every answer, and what a client hears of it (nothing of the server's). */
import { describe, expect, test } from 'vitest';
import { HELLO, memoryServerTls } from '../support/memory-tls.ts';
import { type BenchSettings, sessionBench } from '../support/session-fixture.ts';
import { client as m, server as s } from '../support/wire.ts';

/** The sslmodes, as `TlsContexts` makes plans of them. */
const MODES = {
  disable: () => memoryServerTls('plain'),
  allow: () => memoryServerTls('plain', 'required'),
  prefer: () => memoryServerTls('optional', 'plain'),
  require: () => memoryServerTls('required'),
  direct: () => memoryServerTls('direct'),
} as const;
type Mode = keyof typeof MODES;

const YES = Buffer.from('S');
const NO = Buffer.from('N');
const SECRET = 'words of somebody unknown';
const REFUSAL = s.error({ severity: 'FATAL', code: '53300', message: SECRET });

function bench(mode: Mode, settings: BenchSettings = {}) {
  const serverSecurity = MODES[mode]();
  return { ...asked(sessionBench(settings, { serverSecurity })), serverSecurity };
}

function asked(made: ReturnType<typeof sessionBench>) {
  return {
    bench: made,
    /** Logs in and asks; what came, and whether the server's connection is secured. */
    ask: () => {
      const client = made.connect();
      client.sendStartup();
      made.run();
      const isIn = client.messages.some(({ type }) => type === 'Z');
      const words = client.messages.map(({ body }) => body.toString()).join(' ');
      const summary = client.takeSummary();
      const answer = isIn ? client.query('SELECT a') : '';
      const session = made.postgres.live.at(-1);
      const how = session === undefined ? 'none' : session.isSecured ? 'TLS' : 'plain';
      return { client, what: isIn && answer.includes('D(a)') ? how : summary, words };
    },
  };
}

describe.each([
  // mode, answer to SSLRequest, hello, result
  ['disable', YES, HELLO, 'plain'],
  ['allow', YES, HELLO, 'plain'],
  ['prefer', YES, HELLO, 'TLS'],
  ['require', YES, HELLO, 'TLS'],
  ['direct', YES, HELLO, 'TLS'],
  ['prefer', NO, HELLO, 'plain'],
  ['require', NO, HELLO, 'E(08006)'],
  ['direct', NO, HELLO, 'TLS'],
  ['prefer', REFUSAL, HELLO, 'plain'],
  ['require', REFUSAL, HELLO, 'E(08006)'],
  ['prefer', Buffer.from('x'), HELLO, 'E(08006)'],
  ['require', Buffer.from('x'), HELLO, 'E(08006)'],
  ['prefer', 'close', HELLO, 'plain'],
  ['require', 'close', HELLO, 'E(08006)'],
  ['prefer', YES, Buffer.from('junk'), 'plain'],
  ['require', YES, Buffer.from('junk'), 'E(08006)'],
  ['direct', YES, Buffer.from('junk'), 'E(08006)'],
  ['prefer', YES, 'close', 'plain'],
  ['require', YES, 'close', 'E(08006)'],
  ['direct', YES, 'close', 'E(08006)'],
] as const)('server_tls_sslmode=%s, a server that answers %j, and then %j', (mode, answer, hello, result) => {
  test(`: ${result}`, () => {
    const { bench: made, ask } = bench(mode);
    made.postgres.sslAnswer = answer;
    made.postgres.hello = hello;
    made.expectServers('connect_failed');
    const { what, words } = ask();
    expect(what).toBe(result);
    expect(words).not.toContain(SECRET);
    expect(JSON.stringify(made.log.lines)).not.toContain(SECRET);
  });
});

describe('what a server says before TLS is up (CVE-2021-23222)', () => {
  const session = [s.authentication(0), s.parameter('server_version', SECRET), s.ready()];

  test.each([
    ['require', YES],
    ['require', NO],
    ['prefer', NO],
    ['prefer', YES],
  ] as const)('%s: plain text behind its %s is nobody’s', (mode, answer) => {
    const { bench: made, ask } = bench(mode);
    made.postgres.sslAnswer = Buffer.concat([answer, ...session]);
    made.expectServers('connect_failed');
    const { what, words } = ask();
    expect(what).toBe('E(08006)');
    expect(words).not.toContain(SECRET);
  });

  test('a plain login in place of the handshake is none', () => {
    const { bench: made, ask } = bench('require');
    made.postgres.sslAnswer = YES;
    made.postgres.hello = Buffer.concat(session);
    made.expectServers('connect_failed');
    expect(ask().what).toBe('E(08006)');
  });

  test('without TLS where it is required no startup packet is sent', () => {
    const { bench: made, ask } = bench('require');
    made.expectServers('connect_failed');
    ask();
    expect(made.postgres.sessions).toEqual([]);
    expect(made.postgres.sslRequests).toBe(1);
  });
});

/** As pg_hba.conf with only hostssl, or only hostnossl. */
const onlyFor = (made: ReturnType<typeof sessionBench>, isSecured: boolean) => {
  made.postgres.sslAnswer = YES;
  made.postgres.onStartup = (one) => {
    if (one.isSecured === isSecured) one.login();
    else one.die('exit', s.error({ severity: 'FATAL', code: '28000', message: 'no pg_hba.conf entry' }));
  };
};

describe('a server whose rules refuse the connection', () => {
  test.each([
    ['allow', true, 'TLS'],
    ['prefer', false, 'plain'],
    ['disable', true, 'E(28000)'],
    ['require', false, 'E(28000)'],
  ] as const)('%s where secured must be %s: %s', (mode, isSecured, result) => {
    const { bench: made, ask } = bench(mode);
    onlyFor(made, isSecured);
    if (result.startsWith('E')) made.expectServers('login_failed');
    else made.expectServers('login_failed', 'connect_failed');
    expect(ask().what).toBe(result);
  });

  test('a wrong password is no reason to go without', () => {
    const { bench: made, ask } = bench('prefer');
    made.postgres.sslAnswer = YES;
    made.postgres.onStartup = (one) => one.die('exit', s.error({ severity: 'FATAL', code: '28P01', message: 'wrong' }));
    made.expectServers('login_failed');
    expect(ask().what).toBe('E(28P01)');
    expect(made.postgres.sessions.map((one) => one.isSecured)).toEqual([true]);
  });

  test('plain where the server has no TLS is not tried twice', () => {
    const { bench: made, ask } = bench('prefer');
    made.postgres.onStartup = (one) => one.die('exit', s.error({ severity: 'FATAL', code: '28000', message: 'no' }));
    made.expectServers('login_failed');
    ask();
    expect(made.postgres.sessions).toHaveLength(1);
  });
});

test('an old server that has TLS is spoken to in the old version with it', () => {
  const { bench: made, ask } = bench('prefer');
  made.postgres.sslAnswer = YES;
  made.postgres.onStartup = (one) => {
    if (one.minor === 0) one.login();
    else one.die('exit', s.error({ severity: 'FATAL', code: '0A000', message: 'unsupported' }));
  };
  made.expectServers('login_failed');
  expect(ask().what).toBe('TLS');
});

test('the name that is checked is the one that is configured', () => {
  const serverSecurity = memoryServerTls('required');
  const made = sessionBench({}, { serverSecurity, databases: { app: 'host=db.example port=5432' } });
  made.environment.names.set('db.example', ['10.0.0.1']);
  made.postgres.sslAnswer = YES;
  const client = made.connect();
  client.sendStartup();
  return made.settle().then(() => {
    expect(client.takeSummary()).toContain('Z(I)');
    expect(serverSecurity.hosts).toEqual(['db.example']);
  });
});

describe('a server that stops in the middle', () => {
  test.each([
    ['after SSLRequest', 'nothing', HELLO],
    ['in the handshake', YES, 'nothing'],
  ] as const)('%s: given up at server_connect_timeout, and its slot is free', (_when, answer, hello) => {
    const { bench: made } = bench('require', { server_connect_timeout: 5, server_login_retry: 1, pool_size: 1 });
    made.postgres.sslAnswer = answer;
    made.postgres.hello = hello;
    made.expectServers('connect_timeout', 'connect_failed');
    const client = made.connect();
    client.sendStartup();
    made.advance(6000);
    expect(client.takeSummary()).toBe('E(08006)');
    made.postgres.sslAnswer = YES;
    made.postgres.hello = HELLO;
    made.advance(2000);
    made.client();
  });
});

describe('a cancel', () => {
  test.each([
    ['prefer', YES, true],
    ['require', YES, true],
    ['direct', YES, true],
    ['prefer', NO, false],
    ['disable', YES, false],
  ] as const)('%s, with a server that answers %s: secured %s, as its server is', (mode, answer, isSecured) => {
    const { bench: made } = bench(mode);
    made.postgres.sslAnswer = answer;
    const client = made.client();
    client.send(m.query('SLEEP'));
    made.run();
    made.connect().exchange(m.cancel(client.key));
    expect(client.takeSummary()).toBe('E(57014) Z(I)');
    expect(made.postgres.cancels.map((cancel) => cancel.isSecured)).toEqual([isSecured]);
  });

  test('is not sent in the clear when the server that had TLS has none any more', () => {
    const { bench: made } = bench('prefer');
    made.postgres.sslAnswer = YES;
    const client = made.client();
    client.send(m.query('SLEEP'));
    made.run();
    made.postgres.sslAnswer = NO;
    made.connect().exchange(m.cancel(client.key));
    expect(made.postgres.cancels).toEqual([]);
    made.server().finish();
    made.run();
  });
});
