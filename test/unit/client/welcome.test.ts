/** What a client is told when it is in. */
import { expect, test } from 'vitest';
import { welcome } from '../../../src/client/welcome.ts';
import { SessionParameters, trackedIndex } from '../../../src/server/session-parameters.ts';
import { decode, parametersIn } from '../../support/wire.ts';
import { summary } from '../../support/wire-trace.ts';

const reported = new Map([
  ['server_version', '18.0'],
  ['TimeZone', 'UTC'],
  ['client_encoding', 'UTF8'],
]);

test('the server’s parameters in its spelling, the client’s values over them, its key, and that it may begin', () => {
  const parameters = new SessionParameters();
  parameters.set(trackedIndex('timezone'), 'Asia/Tokyo');
  const messages = decode(Buffer.concat(welcome(parameters, reported, Buffer.from('12345678'), '')));
  expect(summary(messages)).toBe('S(server_version=18.0) S(TimeZone=Asia/Tokyo) S(client_encoding=UTF8) K Z(I)');
  expect(messages.at(-2)!.body.toString()).toBe('12345678');
  expect(parametersIn(messages).get('server_version')).toBe('18.0');
});

test('a notice, if there is one, before ReadyForQuery', () => {
  const messages = decode(Buffer.concat(welcome(new SessionParameters(), reported, Buffer.alloc(8), 'hello')));
  expect(summary(messages.slice(-3))).toBe('K N(hello) Z(I)');
});

test('what the server does not report is not made up', () => {
  const parameters = new SessionParameters();
  parameters.set(trackedIndex('application_name'), 'x');
  const messages = decode(Buffer.concat(welcome(parameters, reported, Buffer.alloc(8), '')));
  expect(parametersIn(messages).has('application_name')).toBe(false);
});
