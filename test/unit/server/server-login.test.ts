/** The login to a server: which protocol version is spoken, and what may come when. */
import { describe, expect, test } from 'vitest';
import { DerivedKeys } from '../../../src/auth/derived-keys.ts';
import { type LoginFailure, type LoginResult, ServerLogin } from '../../../src/server/server-login.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';
import { int32, MessageReader, client as m, type Part, packet, server as s, VERSION_3_2 } from '../../support/wire.ts';

const VERSION_3_0 = 196_608;
const KEY = Buffer.alloc(8, 7);
const SASL = s.authentication(10, Buffer.from('SCRAM-SHA-256\0\0'));
const authenticated = [s.authentication(0), s.keyData(KEY), s.ready('I')];

/** A login that has asked for `minor` and heard `messages`. */
function login(minor: number, ...messages: readonly Buffer[]) {
  const environment = new VirtualEnvironment();
  const sent: Buffer[] = [];
  const ends: (LoginFailure | LoginResult)[] = [];
  const credentials = {
    user: 'app',
    database: 'db',
    secret: () => ({ kind: 'plain', password: 'x' }) as const,
    requireAuth: ['none', 'password', 'md5', 'scram-sha-256'],
    channelBinding: 'prefer' as const,
    parameters: [],
  };
  const login_ = new ServerLogin(credentials, environment, new DerivedKeys(environment), {
    security: null,
    isPrivate: false,
    sendLogin: (bytes) => sent.push(bytes),
    onLoginDone: (result) => ends.push(result),
    onLoginFailed: (failure) => ends.push(failure),
  });
  login_.start(minor);
  for (const { type, body } of new MessageReader().push(Buffer.concat(messages))) {
    login_.onMessage(type.charCodeAt(0), body, 0, body.length);
  }
  return { sent, end: ends[0] ?? null, ends };
}

const done = (cancelKey: Buffer | null = KEY) => ({ parameters: new Map(), cancelKey });
const refused = (code: string) => s.error({ severity: 'FATAL', code, message: 'no' });

describe('the version', () => {
  test('is asked for in the startup packet', () => {
    expect(login(2).sent).toEqual([m.startup({ user: 'app', database: 'db' }, VERSION_3_2)]);
    expect(login(0).sent).toEqual([m.startup({ user: 'app', database: 'db' }, VERSION_3_0)]);
  });

  test('is as asked for where the server says nothing about it', () => {
    expect(login(2, ...authenticated).end).toEqual(done());
  });

  test.each([0, 1, 2])('may be negotiated to 3.%i, once, before anything else', (minor) => {
    expect(login(2, s.negotiate(minor), ...authenticated).ends).toEqual([done()]);
    expect(login(2, s.notice({}), s.negotiate(minor), s.notice({}), ...authenticated).ends).toEqual([done()]);
    expect(login(2, s.negotiate(minor), SASL).ends).toEqual([]);
  });

  test.each([
    ['newer than was asked for', s.negotiate(3)],
    ['of protocol 2', packetOf(int32(131_072), int32(0))],
    ['of protocol 4', packetOf(int32(262_144), int32(0))],
    ['0', packetOf(int32(0), int32(0))],
    ['2^32 - 1', packetOf(int32(-1), int32(0))],
    ['with an option that was not sent', s.negotiate(0, '_pq_.x')],
    ['with options that it does not name', packetOf(int32(VERSION_3_0), int32(-1))],
    ['with bytes behind it', packetOf(int32(VERSION_3_0), int32(0), Buffer.of(0))],
    ['cut', packetOf(int32(VERSION_3_0))],
    ['twice', Buffer.concat([s.negotiate(0), s.negotiate(0)])],
  ])('%s is not taken: an older one may do, unless it was asked for', (_what, bytes) => {
    expect(login(2, bytes, ...authenticated).ends).toEqual([
      { kind: 'version-refused', reason: expect.stringMatching(/rotocol/) },
    ]);
    const asked = login(0, bytes, ...authenticated).ends;
    expect(asked).toEqual([{ kind: 'impossible', reason: expect.stringMatching(/rotocol/) }]);
  });

  test('newer than 3.0 is not taken where 3.0 was asked for', () => {
    expect(login(0, s.negotiate(2)).end).toEqual({ kind: 'impossible', reason: expect.stringContaining('3.2') });
  });

  test.each([
    ['a request for a password', [s.authentication(3)]],
    ['a SASL request', [SASL]],
    ['AuthenticationOk', [s.authentication(0)]],
    ['the key', [s.authentication(0), s.keyData(KEY)]],
  ])('cannot be negotiated after %s', (_what, before) => {
    for (const minor of [0, 2]) {
      expect(login(minor, ...before, s.negotiate(0), ...authenticated).ends).toEqual([
        { kind: 'impossible', reason: 'server negotiates the protocol after authentication' },
      ]);
    }
  });

  test.each(['0A000', '08P01'])('may be what %s refuses, if it is the first answer', (code) => {
    expect(login(2, refused(code)).end).toEqual({ kind: 'version-refused', reason: 'no' });
    expect(login(2, s.notice({}), refused(code)).end).toEqual({ kind: 'version-refused', reason: 'no' });
    const fields = expect.objectContaining({ sqlstate: code });
    for (const end of [
      login(0, refused(code)).end,
      login(2, s.negotiate(0), refused(code)).end,
      login(2, s.authentication(3), refused(code)).end,
      login(2, s.authentication(0), refused(code)).end,
    ]) {
      expect(end).toEqual({ kind: 'refused', fields });
    }
  });

  test.each(['28P01', '3D000', '53300', '57P03', 'XX000'])('is not what %s refuses', (code) => {
    expect(login(2, refused(code)).end).toEqual({
      kind: 'refused',
      fields: expect.objectContaining({ sqlstate: code }),
    });
  });
});

describe('the key', () => {
  test.each([8, 9, 36, 260])('of %i bytes is kept whole', (length) => {
    const key = Buffer.from(Array.from({ length }, (_, i) => i & 0xff));
    expect(login(2, s.authentication(0), s.keyData(key), s.ready('I')).end).toEqual(done(key));
  });

  test.each([0, 4, 7, 261])('of %i bytes is none', (length) => {
    expect(login(2, s.authentication(0), s.keyData(Buffer.alloc(length))).end).toEqual({
      kind: 'impossible',
      reason: 'malformed BackendKeyData',
    });
  });

  test('need not come', () => {
    expect(login(2, s.authentication(0), s.ready('I')).end).toEqual(done(null));
  });
});

/** A NegotiateProtocolVersion of any content. */
function packetOf(...parts: readonly Part[]): Buffer {
  return Buffer.concat([Buffer.from('v'), packet(...parts)]);
}
