/** Messages that the pooler writes, read by a decoder that was written independently. */
import { describe, expect, test } from 'vitest';
import { errors } from '../../../src/base/errors.ts';
import * as client from '../../../src/protocol/client-messages.ts';
import * as server from '../../../src/protocol/server-messages.ts';
import * as wire from '../../support/wire.ts';
import { summary } from '../../support/wire-trace.ts';

describe('as a server', () => {
  test('equal those of the test’s own encoder', () => {
    expect(server.readyForQuery(0x54)).toEqual(wire.server.ready('T'));
    expect(server.parameterStatus('a', 'ü')).toEqual(wire.server.parameter('a', 'ü'));
    expect(server.authenticationRequest(0)).toEqual(wire.server.authentication(0));
    expect(server.authenticationRequest(5, Buffer.from('salt'))).toEqual(
      wire.server.authentication(5, Buffer.from('salt')),
    );
    expect(server.negotiateProtocolVersion(0, ['_pq_.x'])).toEqual(wire.server.negotiate(0, '_pq_.x'));
    expect(server.negotiateProtocolVersion(2, [])).toEqual(wire.server.negotiate(2));
    expect(server.backendKeyData(0x8000_0001, Buffer.from('abcd'))).toEqual(
      wire.server.keyData(Buffer.concat([Buffer.from([0x80, 0, 0, 1]), Buffer.from('abcd')])),
    );
    expect(server.saslMechanisms(['A', 'B']).toString()).toBe('A\0B\0\0');
  });

  test.each(Object.entries(errors))('the error %s is well-formed, whatever is in it', (_name, make) => {
    const hostile = 'x\0y\nü';
    const report = (
      make as (...inputs: unknown[]) => (typeof errors)['queryTimeout'] extends () => infer R ? R : never
    )(hostile, hostile);
    const [message] = wire.decode(server.errorResponse(report));
    const fields = wire.errorFields(message!);
    expect(fields.get('S')).toBe(fields.get('V'));
    expect(fields.get('V')).toMatch(/^(ERROR|FATAL)$/);
    expect(fields.get('C')).toMatch(/^[0-9A-Z]{5}$/);
    expect(fields.get('M')).not.toBe('');
    expect(message!.body.at(-1)).toBe(0);
    expect([...fields.keys()].every((field) => 'SVCMDHR'.includes(field))).toBe(true);
  });

  test('a notice', () => {
    const notice = server.noticeResponse('NOTICE', { sqlstate: '00000', message: 'hello' });
    expect(summary(wire.decode(notice))).toBe('N(hello)');
  });
});

describe('as a client', () => {
  test('equal those of the test’s own encoder', () => {
    expect(client.query('SELECT ü')).toEqual(wire.client.query('SELECT ü'));
    expect(client.copyFail('x')).toEqual(wire.client.copyFail('x'));
    expect(client.passwordMessage('x')).toEqual(wire.client.password('x'));
    expect(client.saslInitialResponse('M', Buffer.from('d'))).toEqual(wire.client.saslInitial('M', Buffer.from('d')));
    expect(client.saslResponse(Buffer.from('d'))).toEqual(wire.client.saslResponse(Buffer.from('d')));
    expect(client.cancelRequest(Buffer.alloc(8, 3))).toEqual(wire.client.cancel(Buffer.alloc(8, 3)));
    expect(client.SYNC_MESSAGE).toEqual(wire.client.sync());
    expect(client.FLUSH_MESSAGE).toEqual(wire.client.flush());
    expect(client.TERMINATE_MESSAGE).toEqual(wire.client.terminate());
    expect(
      client.startupMessage(0, [
        ['user', 'a'],
        ['database', 'b'],
      ]),
    ).toEqual(wire.client.startup({ user: 'a', database: 'b' }));
    expect(client.startupMessage(2, [['user', 'a']])).toEqual(wire.client.startup({ user: 'a' }, wire.VERSION_3_2));
    expect(client.cancelRequest(Buffer.alloc(260, 3))).toEqual(wire.client.cancel(Buffer.alloc(260, 3)));
  });

  test('a NUL cannot smuggle anything in', () => {
    expect(() => client.startupMessage(0, [['user', 'a\0replication\0true']])).toThrow(RangeError);
    expect(() => client.query('a\0b')).toThrow(RangeError);
    expect(() => client.passwordMessage('a\0b')).toThrow(RangeError);
  });

  test('the impossible Bind names a statement that holds what nobody can guess', () => {
    const [message] = wire.decode(client.impossibleBind('0123456789abcdef'));
    expect(wire.strings(message!.body).slice(0, 2)).toEqual(['', 'tsbouncer_no_such_statement_0123456789abcdef']);
    expect(message).toEqual(
      wire.decode(wire.client.bind({ statement: 'tsbouncer_no_such_statement_0123456789abcdef' }))[0],
    );
  });
});
