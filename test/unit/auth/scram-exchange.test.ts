/** Both sides of ours against each other. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { DerivedKeys } from '../../../src/auth/derived-keys.ts';
import { saslprep } from '../../../src/auth/saslprep.ts';
import { ScramClient } from '../../../src/auth/scram-client.ts';
import { createNonce } from '../../../src/auth/scram-messages.ts';
import { ScramServer } from '../../../src/auth/scram-server.ts';
import { FakeEnvironment } from './fake-environment.ts';

const ITERATIONS = 2;

/** Who believes whom at the end of a login with `typed` where `stored` is stored. */
async function login(stored: string, typed: string): Promise<{ client: boolean; server: boolean }> {
  const environment = new FakeEnvironment();
  const serverKeys = new DerivedKeys(environment);
  const clientKeys = new DerivedKeys(environment);
  const secret = await serverKeys.scramSecret('alice', stored, ITERATIONS);
  const server = new ScramServer({ secret, nonce: createNonce(environment), doomed: false });
  const client = new ScramClient({ nonce: createNonce(environment) });

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
