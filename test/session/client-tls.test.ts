/** TLS as the login sees it: who asks for it and when, what may come before it, and who is not let in without. */
import { describe, expect, test } from 'vitest';
import { HELLO, type MemoryTlsOptions, memoryClientTls } from '../support/memory-tls.ts';
import { type BenchSettings, sessionBench } from '../support/session-fixture.ts';
import { client as m } from '../support/wire.ts';

function tlsBench(options: MemoryTlsOptions = {}, settings: BenchSettings = {}) {
  return sessionBench(settings, { clientSecurity: memoryClientTls(options) });
}

const startup = m.startup({ user: 'app', database: 'app' });
const peer = { commonName: 'app', distinguishedName: 'CN=app' };
const IN = /^R S.* K Z\(I\)$/;

describe('a client that asks for TLS', () => {
  test('gets it, and logs in behind it', () => {
    const bench = tlsBench();
    const client = bench.connect();
    client.sendNegotiation('ssl');
    bench.run();
    expect(client.bytes).toEqual(['S']);
    expect(client.exchange(HELLO)).toBe('');
    expect(client.exchange(startup)).toMatch(IN);
    expect(bench.sessionOf(client).options.wire.security?.version).toBe('TLSv1.3');
  });

  test('is told no where there is none, and may go on', () => {
    const bench = sessionBench();
    const client = bench.connect();
    client.sendNegotiation('ssl');
    bench.run();
    expect(client.bytes).toEqual(['N']);
    expect(client.exchange(startup)).toMatch(IN);
  });

  test('may be told no to GSS encryption before', () => {
    const bench = tlsBench();
    const client = bench.connect();
    client.sendNegotiation('gssenc');
    bench.run();
    client.sendNegotiation('ssl');
    bench.run();
    expect(client.bytes).toEqual(['N', 'S']);
    client.exchange(HELLO);
    expect(client.exchange(startup)).toMatch(IN);
  });

  test.each(['ssl', 'gssenc'] as const)('may not ask for %s inside it', (what) => {
    const bench = tlsBench();
    const client = bench.connect();
    client.sendNegotiation('ssl');
    bench.run();
    client.exchange(HELLO);
    expect(client.exchange(m[what]())).toBe('E(08P01)');
    expect(client.isEnded).toBe(true);
  });

  test('may send a cancel request inside it', () => {
    const bench = tlsBench();
    const worker = bench.client();
    worker.send(m.query('SLEEP'));
    bench.run();
    const canceller = bench.connect();
    canceller.sendNegotiation('ssl');
    bench.run();
    canceller.exchange(HELLO);
    canceller.exchange(m.cancel(worker.key));
    expect(canceller.isEnded).toBe(true);
    expect(worker.takeSummary()).toBe('E(57014) Z(I)');
  });
});

describe('bytes sent before the handshake (CVE-2021-3935)', () => {
  test.each([
    ['a startup packet', startup],
    ['one byte', Buffer.of(0)],
    ['a handshake', HELLO],
  ])('%s in one segment with SSLRequest: nobody is let in', (_what, injected) => {
    const bench = tlsBench();
    const client = bench.connect();
    expect(client.exchange(m.ssl(), injected)).toBe('E(08P01)');
    expect(client.isEnded).toBe(true);
    expect(bench.registry.clients.size).toBe(0);
    expect(bench.postgres.streams.size).toBe(0);
  });

  test('the two cut at every byte', () => {
    const bytes = Buffer.concat([m.ssl(), startup]);
    for (let cut = 1; cut < bytes.length; cut++) {
      const bench = sessionBench({}, { manual: true, clientSecurity: memoryClientTls() });
      const client = bench.connect();
      client.send(bytes.subarray(0, cut));
      bench.run();
      client.send(bytes.subarray(cut));
      bench.run();
      expect(client.isEnded, `cut at ${cut}`).toBe(true);
      expect(bench.registry.clients.size).toBe(0);
      expect(bench.postgres.streams.size).toBe(0);
      bench.finish();
    }
  });

  test('plain text in place of the handshake ends the connection without a word', () => {
    const bench = tlsBench();
    const client = bench.connect();
    client.sendNegotiation('ssl');
    bench.run();
    client.take();
    expect(client.exchange(startup)).toBe('');
    expect(client.isEnded).toBe(true);
    expect(bench.log.at('warn').join()).toContain('TLS handshake failed');
  });
});

describe('direct TLS', () => {
  test('is understood by its first byte', () => {
    const bench = tlsBench();
    const client = bench.connect();
    expect(client.exchange(HELLO)).toBe('');
    expect(client.exchange(startup)).toMatch(IN);
  });

  test('is no packet where TLS is off', () => {
    const bench = sessionBench();
    const client = bench.connect();
    expect(client.exchange(HELLO)).toBe('E(08P01)');
  });

  test('is no packet after another one', () => {
    const bench = tlsBench();
    const client = bench.connect();
    client.sendNegotiation('gssenc');
    bench.run();
    client.take();
    expect(client.exchange(HELLO)).toBe('E(08P01)');
  });
});

describe('where TLS is required', () => {
  test('a startup packet without it is refused, whoever it is from', () => {
    const bench = tlsBench({ isRequired: true });
    const client = bench.connect();
    expect(client.exchange(startup)).toBe('E(28000)');
    expect(client.isEnded).toBe(true);
  });

  test('one behind it is not', () => {
    const bench = tlsBench({ isRequired: true });
    const client = bench.connect();
    client.exchange(HELLO);
    expect(client.exchange(startup)).toMatch(IN);
  });

  test('a cancel request needs none: libpq sends it in the clear', () => {
    const bench = tlsBench({ isRequired: true });
    const worker = bench.connect();
    worker.exchange(HELLO);
    worker.logIn();
    worker.send(m.query('SLEEP'));
    bench.run();
    bench.connect().exchange(m.cancel(worker.key));
    expect(worker.takeSummary()).toBe('E(57014) Z(I)');
  });
});

describe('where a certificate is required', () => {
  test('a client without one hears so, inside TLS', () => {
    const bench = tlsBench({ isRequired: true, needsCertificate: true });
    const client = bench.connect();
    expect(client.exchange(HELLO)).toBe('E(28000)');
    expect(client.isEnded).toBe(true);
  });

  test('a client with one comes in, and is who it says', () => {
    const bench = tlsBench({ isRequired: true, needsCertificate: true, security: { peer } });
    const client = bench.connect();
    client.exchange(HELLO);
    expect(client.exchange(startup)).toMatch(IN);
    expect(bench.sessionOf(client).options.wire.security?.peer).toBe(peer);
  });
});

describe('half a handshake', () => {
  test('ends with the login timeout, without a word', () => {
    const bench = tlsBench({}, { client_login_timeout: 10 });
    const client = bench.connect();
    client.sendNegotiation('ssl');
    bench.advance(9000);
    expect(client.isEnded).toBe(false);
    bench.advance(2000);
    expect(client.isEnded).toBe(true);
    expect(client.take()).toEqual([]);
  });

  test('gives its slot to one who comes', () => {
    const bench = tlsBench({}, { max_login_clients: 2 });
    const first = bench.connect();
    const second = bench.connect();
    for (const client of [first, second]) client.sendNegotiation('ssl');
    bench.run();
    const third = bench.connect();
    expect(first.isEnded).toBe(true);
    expect(second.isEnded).toBe(false);
    expect(third.exchange(startup)).toMatch(IN);
  });

  test('is logged, but not as often as it happens', () => {
    const bench = tlsBench();
    const fail = (): void => {
      const client = bench.connect();
      client.sendNegotiation('ssl');
      bench.run();
      client.exchange(startup);
    };
    for (let time = 0; time < 50; time++) fail();
    const failures = () => bench.log.lines.filter(({ message }) => message.startsWith('TLS handshake failed'));
    expect(failures()).toHaveLength(10);
    bench.advance(10_000);
    fail();
    expect(failures()).toHaveLength(11);
    expect(failures().at(-1)?.fields).toMatchObject({ leftOut: 40 });
  });
});
