/** A pooler that asks PostgreSQL for secrets, and logins there. */
import { expect } from 'vitest';
import type { SessionClient } from '../support/session-client.ts';
import { type BenchSettings, type BenchSetup, type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { errorFields, client as m, type WireMessage } from '../support/wire.ts';
import { AUTH_USER, AuthQueryPeer, type AuthReply } from './auth-query-peer.ts';

export const USERS: Readonly<Record<string, string>> = { alice: 'alice-secret', bob: 'bob-secret' };

export function known(name: string): AuthReply {
  const secret = USERS[name];
  return secret === undefined ? [] : [[name, secret]];
}

export function scene(
  settings: BenchSettings = {},
  setup: BenchSetup = {},
  reply: (name: string) => AuthReply = known,
) {
  const bench = sessionBench(
    { auth_type: 'plain', auth_user: AUTH_USER, ...settings },
    { secrets: { [AUTH_USER]: 'auth-secret', local: 'local-secret' }, ...setup },
  );
  return { bench, peer: new AuthQueryPeer(bench, reply) };
}

/** Begins a login and answers the first question; returns all that came in the end. */
export async function logIn(
  bench: SessionBench,
  user: string,
  password = `${user}-secret`,
  { database = 'app', startup = {} }: { database?: string; startup?: Record<string, string> } = {},
): Promise<{ client: SessionClient; asked: string; answer: WireMessage[] }> {
  const client = bench.connect();
  client.send(m.startup({ user, database, ...startup }));
  await bench.settle();
  const asked = client.takeSummary();
  client.send(m.password(password));
  await bench.settle();
  return { client, asked, answer: client.take() };
}

export const types = (messages: readonly WireMessage[]): string => messages.map(({ type }) => type).join('');

/** What a refused client hears, as one line. */
export function refusal(messages: readonly WireMessage[]): string {
  expect(types(messages)).toBe('E');
  const fields = errorFields(messages[0]!);
  return `${fields.get('C')} ${fields.get('M')}`;
}

export const REFUSED = '28P01 password authentication failed';
