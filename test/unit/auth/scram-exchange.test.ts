/** Both sides of ours against each other. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { DerivedKeys } from '../../../src/auth/derived-keys.ts';
import { saslprep } from '../../../src/auth/saslprep.ts';
import { type ScramBinding, ScramClient } from '../../../src/auth/scram-client.ts';
import { createNonce } from '../../../src/auth/scram-messages.ts';
import { ScramServer, type ScramServerOptions } from '../../../src/auth/scram-server.ts';
import { FakeEnvironment } from './fake-environment.ts';

const ITERATIONS = 2;

interface Binding {
  readonly client: ScramBinding;
  readonly server: Pick<ScramServerOptions, 'mechanism' | 'channelBinding'>;
}

const UNBOUND: Binding = {
  client: { flag: 'n' },
  server: { mechanism: 'SCRAM-SHA-256', channelBinding: null },
};

/** The client sees one certificate, and the server has shown another (or the same). */
const bound = (seen: string, shown: string): Binding => ({
  client: { flag: 'p', data: Buffer.from(seen) },
  server: { mechanism: 'SCRAM-SHA-256-PLUS', channelBinding: Buffer.from(shown) },
});

/** Who believes whom at the end of a login with `typed` where `stored` is stored. */
async function login(
  stored: string,
  typed: string,
  binding: Binding = UNBOUND,
): Promise<{ client: boolean; server: boolean }> {
  const environment = new FakeEnvironment();
  const serverKeys = new DerivedKeys(environment);
  const clientKeys = new DerivedKeys(environment);
  const secret = await serverKeys.scramSecret('alice', stored, ITERATIONS);
  const server = new ScramServer({ secret, nonce: createNonce(environment), doomed: false, ...binding.server });
  const client = new ScramClient({ nonce: createNonce(environment), binding: binding.client });

  const serverFirst = server.clientFirst(client.clientFirst());
  if (!serverFirst.ok) throw new Error(serverFirst.reason);
  const challenge = client.serverFirst(serverFirst.message);
  if (!challenge.ok) throw new Error(challenge.reason);
  const proof = client.proof(await clientKeys.saltedPassword(typed, challenge.salt, challenge.iterations));
  const serverFinal = server.clientFinal(proof);
  if (!serverFinal.ok) return { client: client.serverFinal(Buffer.from('e=invalid-proof')).ok, server: false };
  return { client: client.serverFinal(serverFinal.message).ok, server: true };
}

const password = fc.string({ unit: 'binary', minLength: 1, maxLength: 30 });

test('they agree on any password', async () => {
  await fc.assert(
    fc.asyncProperty(password, async (same) => {
      expect(await login(same, same)).toEqual({ client: true, server: true });
    }),
  );
});

test('they refuse any other password', async () => {
  await fc.assert(
    fc.asyncProperty(password, password, async (stored, typed) => {
      fc.pre(saslprep(stored) !== saslprep(typed));
      expect(await login(stored, typed)).toEqual({ client: false, server: false });
    }),
  );
});

test('a password is prepared on both sides', async () => {
  expect(await login('\u2168', 'IX')).toEqual({ client: true, server: true });
});

test('they agree on a channel that both see, and refuse one that somebody has got into', async () => {
  expect(await login('x', 'x', bound('hash', 'hash'))).toEqual({ client: true, server: true });
  expect(await login('x', 'y', bound('hash', 'hash'))).toEqual({ client: false, server: false });
  expect(await login('x', 'x', bound('hash', 'other'))).toEqual({ client: false, server: false });
});
