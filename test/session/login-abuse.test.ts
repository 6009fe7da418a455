/**
 * Peers that say what nobody says during a login (faults A3, A9–A11, B2–B4): every type byte, every bad length, any order
 * of messages. What must not happen: that somebody is let in, that a session gets a server, that memory grows.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { bytesOf, int32, client as m, packet, server as s, type WireMessage } from '../support/wire.ts';
import { ScramPeerClient } from './scram-peer.ts';

const LENGTHS = [0, 1, 2, 3, 4, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
const MEGABYTE = 1_048_576;

const typed = (code: number, length: number, body: Buffer = Buffer.alloc(0)): Buffer =>
  bytesOf(Buffer.of(code), int32(length), body);

const summaryOf = (messages: readonly WireMessage[]): string =>
  messages.map(({ type, body }) => (type === 'R' ? `R${body.readInt32BE(0)}` : type)).join(' ');

/** Steps that a login can be at, and how to get there. */
const STEPS = {
  start: { auth_type: 'plain', reach: () => {} },
  password: { auth_type: 'plain', reach: (client: SessionClient) => client.sendStartup() },
  md5: { auth_type: 'md5', reach: (client: SessionClient) => client.sendStartup() },
  'sasl-initial': { auth_type: 'scram-sha-256', reach: (client: SessionClient) => client.sendStartup() },
  'sasl-final': {
    auth_type: 'scram-sha-256',
    reach: (client: SessionClient) => {
      client.sendStartup();
      client.send(m.saslInitial('SCRAM-SHA-256', new ScramPeerClient('app-secret').first()));
    },
  },
} as const;
type Step = keyof typeof STEPS;
const steps = Object.keys(STEPS) as Step[];

/** What a client is told that sends `bytes` at this step. */
async function say(step: Step, bytes: Buffer): Promise<{ told: string; bench: SessionBench; client: SessionClient }> {
  const { auth_type, reach } = STEPS[step];
  const bench = sessionBench({ auth_type }, { manual: true });
  const client = bench.connect();
  reach(client);
  await bench.settle();
  client.take();
  client.send(bytes);
  await bench.settle();
  return { told: summaryOf(client.take()), bench, client };
}

describe.each(steps)('a client at the step %s', (step) => {
  test('gets nowhere by any of the 256 types, with or without a body', async () => {
    for (let code = 0; code < 256; code++) {
      for (const body of [Buffer.alloc(0), Buffer.from('app\0'), Buffer.alloc(40)]) {
        const { told, bench, client } = await say(step, typed(code, 4 + body.length, body));
        expect(told).toBe('E');
        expect(client.isEnded).toBe(true);
        expect(bench.postgres.streams.size).toBe(0);
        bench.finish();
      }
    }
  });

  test('gets nowhere by any length of a message, and is not waited for where it is absurd', async () => {
    for (const length of LENGTHS) {
      for (const body of [Buffer.alloc(0), Buffer.alloc(1), Buffer.alloc(64)]) {
        const bytes = step === 'start' ? bytesOf(int32(length), body) : typed(0x70, length, body);
        const { told, bench, client } = await say(step, bytes);
        // Of length 5 one byte is missing.
        const isIncomplete = length === 5 && body.length === 0 && step !== 'start';
        expect(`${length} ${told}`).toBe(`${length} ${isIncomplete ? '' : 'E'}`);
        expect(client.isEnded).toBe(!isIncomplete);
        expect(bench.postgres.streams.size).toBe(0);
        bench.finish();
      }
    }
  });

  test('that sends a megabyte is refused before it has been collected', async () => {
    const bytes =
      step === 'start' ? packet(int32(196_608), 'user', 'u'.repeat(MEGABYTE)) : m.password('p'.repeat(MEGABYTE));
    const { told, bench } = await say(step, bytes);
    expect(told).toBe('E');
    expect(bench.accepted[0]!.unreadBytes).toBe(0);
    bench.finish();
  });
});

describe('SASLInitialResponse', () => {
  test.each(LENGTHS)('with an inner length of %i is refused', async (length) => {
    for (const data of [Buffer.alloc(0), Buffer.from('n,,n=,r=abc')]) {
      const body = bytesOf('SCRAM-SHA-256', int32(length), data);
      const { told, bench } = await say('sasl-initial', typed(0x70, 4 + body.length, body));
      // 2^32 - 1 is −1, no response yet; 0 is an empty one, and is malformed.
      expect(told).toBe(length === 0xffff_ffff && data.length === 0 ? 'R11' : 'E');
      bench.finish();
    }
  });

  test.each([
    ['without a NUL after the mechanism', Buffer.from('SCRAM-SHA-256')],
    ['without a length', Buffer.from('SCRAM-SHA-256\0')],
    ['with half a length', Buffer.from('SCRAM-SHA-256\0\0\0')],
    ['with bytes behind the data', bytesOf('SCRAM-SHA-256', int32(11), Buffer.from('n,,n=,r=abcd'))],
    ['of a mechanism in small letters', bytesOf('scram-sha-256', int32(11), Buffer.from('n,,n=,r=abc'))],
    ['of a mechanism of 60,000 bytes', bytesOf('S'.repeat(60_000), int32(11), Buffer.from('n,,n=,r=abc'))],
    [
      'with a nonce of 60,000 bytes',
      bytesOf('SCRAM-SHA-256', int32(60_008), Buffer.from(`n,,n=,r=${'a'.repeat(60_000)}`)),
    ],
  ])('%s is refused', async (_what, body) => {
    const { told, bench } = await say('sasl-initial', typed(0x70, 4 + body.length, body));
    expect(told).toBe('E');
    bench.finish();
  });
});

test('an identity stays the first one, also where its database does not exist (CVE-2026-107350)', async () => {
  for (const second of [{ user: 'admin' }, { user: 'admin', database: 'app' }, {}]) {
    const bench = sessionBench({ auth_type: 'scram-sha-256' }, { secrets: { app: 'app-secret', admin: 'x' } });
    const client = bench.connect();
    const peer = new ScramPeerClient('app-secret');
    client.sendStartup({ user: 'app', database: 'none' });
    await bench.settle();
    client.take();
    client.send(m.saslInitial('SCRAM-SHA-256', peer.first()));
    await bench.settle();
    const [challenge] = client.take();
    client.send(m.startup({ database: 'app', user: 'app', ...second }));
    await bench.settle();
    client.send(m.saslResponse(peer.final(challenge!.body.toString('utf8', 4))));
    await bench.settle();
    expect(client.takeSummary()).toBe('E(08P01)');
    expect(client.isEnded).toBe(true);
    expect(bench.registry.clients.size).toBe(0);
  }
});

// Any sequence of messages

const SECRETS = { app: 'app-secret', other: 'other-secret' };
const COMMANDS = [
  'ssl',
  'gssenc',
  'cancel',
  'startup app',
  'startup other',
  'startup none',
  'right',
  'wrong',
  'initial',
  'final',
  'query',
  'sync',
  'terminate',
  'junk',
] as const;
type Command = (typeof COMMANDS)[number];

class Speaker {
  readonly #client: SessionClient;
  readonly #peer = new ScramPeerClient(SECRETS.app);
  #challenge = 'r=nonce,s=QUJD,i=1';

  constructor(client: SessionClient) {
    this.#client = client;
  }

  heard(messages: readonly WireMessage[]): void {
    for (const { type, body } of messages) {
      if (type === 'R' && body.readInt32BE(0) === 11) this.#challenge = body.toString('utf8', 4);
    }
  }

  say(command: Command): void {
    if (command === 'ssl' || command === 'gssenc') this.#client.sendNegotiation(command);
    else this.#client.send(this.#bytesOf(command));
  }

  #bytesOf(command: Exclude<Command, 'ssl' | 'gssenc'>): Buffer {
    switch (command) {
      case 'cancel':
        return m.cancel(Buffer.alloc(8));
      case 'startup app':
        return m.startup({ user: 'app', database: 'app' });
      case 'startup other':
        return m.startup({ user: 'other', database: 'app' });
      case 'startup none':
        return m.startup({ user: 'app', database: 'none' });
      case 'right':
        return m.password(SECRETS.app);
      case 'wrong':
        return m.password('wrong');
      case 'initial':
        return m.saslInitial('SCRAM-SHA-256', this.#peer.first());
      case 'final':
        return m.saslResponse(this.#peer.final(this.#challenge));
      case 'query':
        return m.query('SELECT a');
      case 'sync':
        return m.sync();
      case 'terminate':
        return m.terminate();
      case 'junk':
        return Buffer.from([0, 0, 0, 9, 1, 2, 3, 4, 5]);
    }
  }
}

/** After how many commands the client is in; -1 if it never is. The password that it knows is app's. */
function entersAfter(authType: 'trust' | 'plain' | 'scram-sha-256', commands: readonly Command[]): number {
  let at = 0;
  const asked = new Set<Command>();
  for (; commands[at] === 'ssl' || commands[at] === 'gssenc'; at++) {
    if (asked.has(commands[at]!)) return -1;
    asked.add(commands[at]!);
  }
  const startup = commands[at++];
  // Trust is for everybody whom the list has.
  if (authType === 'trust') return startup === 'startup app' || startup === 'startup other' ? at : -1;
  if (startup !== 'startup app') return -1;
  if (authType === 'plain') return commands[at] === 'right' ? at + 1 : -1;
  return commands[at] === 'initial' && commands[at + 1] === 'final' ? at + 2 : -1;
}

describe.each(['trust', 'plain', 'scram-sha-256'] as const)('any sequence of messages, with %s', (authType) => {
  test('lets in who has given one name and proven it, at that moment, and nobody else', async () => {
    let entered = 0;
    const usual = fc.constantFrom<Command[]>(
      ['startup app', 'right'],
      ['startup app', 'initial', 'final'],
      ['ssl', 'startup app', 'right'],
      ['startup none', 'initial', 'startup app', 'final'],
      ['startup none', 'right', 'startup app', 'right'],
      ['startup app', 'startup app', 'initial', 'final'],
      ['startup other', 'startup app', 'right'],
    );
    const any = fc.array(fc.constantFrom(...COMMANDS), { maxLength: 6 });
    const sequence = fc.oneof(
      any,
      fc.tuple(usual, any).map((parts) => parts.flat()),
    );
    await fc.assert(
      fc.asyncProperty(sequence, async (commands) => {
        const bench = sessionBench({ auth_type: authType }, { secrets: SECRETS, manual: true });
        bench.expectClients('protocol_violation');
        const client = bench.connect();
        const speaker = new Speaker(client);
        const expected = entersAfter(authType, commands);
        const first = commands.find((command) => command.startsWith('startup'))?.slice('startup '.length);
        let toldBefore = '';
        for (const [i, command] of commands.entries()) {
          const wasEnded = client.isEnded;
          speaker.say(command);
          await bench.settle();
          const messages = client.take();
          speaker.heard(messages);
          const told = summaryOf(messages);
          const isIn = i + 1 === expected;
          if (isIn) {
            entered++;
            expect(told).toMatch(/^(R12 )?R0 (S )+K Z$/);
            expect([...bench.registry.clients].map(({ options }) => options.identity.user)).toEqual([first]);
          } else if (expected === -1 || i < expected) {
            expect(told).not.toContain('R0');
            expect(bench.registry.clients.size).toBe(0);
            expect(bench.postgres.streams.size).toBe(0);
          }
          const isAgain = commands.slice(0, i).some((before) => before.startsWith('startup'));
          if (command.startsWith('startup') && isAgain && !wasEnded) expect(told).toBe('E');
          // Nothing comes after an end.
          if (toldBefore.endsWith('E') && client.isEnded) expect(told).toBe('');
          toldBefore = told === '' ? toldBefore : told;
        }
        bench.finish();
      }),
      { numRuns: 300 },
    );
    expect(entered).toBeGreaterThan(10);
  });
});

// Servers

/** A client's answer where the server's first word to us is `bytes`, and what the log says of it. */
async function serverSays(bytes: Buffer): Promise<{ told: string; log: string; bench: SessionBench }> {
  const bench = sessionBench(
    { server_connect_timeout: 5 },
    { databases: { app: { host: '10.0.0.1', user: 'app', password: 'top-secret' } }, manual: true },
  );
  bench.expectServers('login_failed', 'connect_timeout', 'eof', 'out_of_sync');
  bench.postgres.onStartup = (session) => {
    session.takeOver().send(bytes);
  };
  const client = bench.connect();
  client.sendStartup();
  await bench.settle();
  bench.advance(10_000);
  await bench.settle();
  return { told: client.takeSummary(), log: JSON.stringify(bench.log.lines), bench };
}

const UNBELIEVABLE: readonly [what: string, bytes: Buffer][] = [
  ...LENGTHS.map((length): [string, Buffer] => [`R of length ${length}`, typed(0x52, length, Buffer.alloc(8))]),
  ...LENGTHS.map((length): [string, Buffer] => [`E of length ${length}`, typed(0x45, length, Buffer.alloc(8))]),
  ...LENGTHS.map((code): [string, Buffer] => [
    `authentication method ${code}`,
    s.authentication(code, Buffer.alloc(3)),
  ]),
  ['SASL without a list', s.authentication(10)],
  ['SASL with an empty list', s.authentication(10, Buffer.of(0))],
  ['SASL with a list that does not end', s.authentication(10, Buffer.from('SCRAM-SHA-25'))],
  ['SASL with a megabyte of names', s.authentication(10, Buffer.from('x\0'.repeat(MEGABYTE / 2)))],
  ['a megabyte of salt for MD5', s.authentication(5, Buffer.alloc(MEGABYTE))],
  ['the end of SASL first', s.authentication(12, Buffer.from('v=AAAA'))],
  ['the middle of SASL first', s.authentication(11, Buffer.from('r=x,s=QQ==,i=1'))],
  ['a row', s.row('x')],
  ['ReadyForQuery', s.ready('I')],
  ['a key', s.keyData(Buffer.alloc(8))],
  ['SSL’s answer', Buffer.from('S')],
  ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ['zeros', Buffer.alloc(100)],
];

describe('a server', () => {
  test.each(UNBELIEVABLE)('that begins with %s is given up, and the client hears of it', async (_what, bytes) => {
    const { told, log, bench } = await serverSays(bytes);
    expect(told).toMatch(/^(E\((08006|XX000|57P03)\))?$/);
    expect(log).not.toContain('top-secret');
    expect(bench.pool().servers.in('idle').size).toBe(0);
    bench.finish();
  });

  test('of any of the 256 types first is given up unless it is a notice', async () => {
    for (let code = 0; code < 256; code++) {
      const { told, bench } = await serverSays(typed(code, 8, Buffer.alloc(4)));
      // AuthenticationOk lets us go on, and then there is silence.
      expect(`${code} ${told}`).not.toContain('Z');
      expect(bench.pool().servers.in('idle').size).toBe(0);
      bench.finish();
    }
  });

  test.each([
    ['asks for more iterations than anybody may', 'r=NONCEx,s=QUJD,i=1000001'],
    ['asks for 2^31 iterations', 'r=NONCEx,s=QUJD,i=2147483648'],
    ['asks for none', 'r=NONCEx,s=QUJD,i=0'],
    ['has no salt', 'r=NONCEx,s=,i=4096'],
    ['has a salt of a megabyte', `r=NONCEx,s=${'QUJD'.repeat(MEGABYTE / 4)},i=4096`],
    ['has a nonce of a megabyte', `r=NONCE${'x'.repeat(MEGABYTE)},s=QUJD,i=4096`],
    ['gives our nonce back', 'r=NONCE,s=QUJD,i=4096'],
    ['has another nonce', 'r=another,s=QUJD,i=4096'],
    ['says its nonce twice', 'r=NONCEx,r=NONCEx,s=QUJD,i=4096'],
    ['says no salt', 'r=NONCEx,i=4096'],
    ['wants an extension', 'm=x,r=NONCEx,s=QUJD,i=4096'],
    ['says nothing', ''],
  ])('whose challenge %s gets no proof, and none of its words is repeated', async (_what, challenge) => {
    const bench = sessionBench({}, { databases: { app: { host: '10.0.0.1', user: 'app', password: 'top-secret' } } });
    bench.expectServers('login_failed', 'out_of_sync');
    const keys: number[] = [];
    const deriveKey = bench.environment.deriveKey.bind(bench.environment);
    bench.environment.deriveKey = (password, salt, iterations) => {
      keys.push(iterations);
      return deriveKey(password, salt, iterations);
    };
    let received = 0;
    bench.postgres.onStartup = (session) => {
      const original = session.stream.onData;
      session.takeOver().send(s.authentication(10, Buffer.from('SCRAM-SHA-256\0\0')));
      session.stream.onData = (chunk) => {
        original(chunk);
        if (session.isGone || ++received > 1) return;
        const nonce = /r=(.*)$/.exec(session.received[0]!.body.toString())![1]!;
        session.send(s.authentication(11, Buffer.from(challenge.replaceAll('NONCE', nonce))));
      };
    };
    const client = bench.connect();
    client.sendStartup();
    await bench.settle();
    expect(client.takeSummary()).toBe('E(08006)');
    expect(received).toBe(1);
    expect(keys).toEqual([]);
    const said = JSON.stringify(bench.log.lines) + Buffer.concat(client.chunks).toString();
    expect(said).not.toMatch(/QUJD|another,|xxxx|top-secret/);
  });
});
