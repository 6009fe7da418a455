/** What a client is told when it is in. */
import { expect, test } from 'vitest';
import { ClientParameters } from '../../../src/client/client-parameters.ts';
import { welcome } from '../../../src/client/welcome.ts';
import { ParameterTable } from '../../../src/server/parameter-table.ts';
import { decode, parametersIn } from '../../support/wire.ts';
import { summary } from '../../support/wire-trace.ts';

const reported = new Map([
  ['server_version', '18.0'],
  ['TimeZone', 'UTC'],
  ['client_encoding', 'UTF8'],
]);

function welcomed(startup: Readonly<Record<string, string>>, notice = '') {
  const table = new ParameterTable();
  for (const name of [...reported.keys(), 'application_name']) table.learn(name);
  const settings = Object.entries(startup).map(([name, value]) => ({ name, value }));
  const parameters = new ClientParameters(table, reported, settings);
  return decode(Buffer.concat(welcome(parameters, table, reported, Buffer.from('12345678'), notice)));
}

test('the server’s parameters in its spelling, the client’s values over them, its key, and that it may begin', () => {
  const messages = welcomed({ timezone: 'Asia/Tokyo' });
  expect(summary(messages)).toBe('S(server_version=18.0) S(TimeZone=Asia/Tokyo) S(client_encoding=UTF8) K Z(I)');
  expect(messages.at(-2)!.body.toString()).toBe('12345678');
  expect(parametersIn(messages).get('server_version')).toBe('18.0');
});

test('a notice, if there is one, before ReadyForQuery', () => {
  expect(summary(welcomed({}, 'hello').slice(-3))).toBe('K N(hello) Z(I)');
});

test('what the server does not report is not made up, and what it is cannot be wished otherwise', () => {
  const told = parametersIn(welcomed({ application_name: 'x', server_version: '7', search_path: 'a' }));
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries(reported));
});
