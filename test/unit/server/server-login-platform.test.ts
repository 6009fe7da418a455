/** Logging in to a server where the platform does not play along. */
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { expect, onTestFinished, test } from 'vitest';
import { DerivedKeys } from '../../../src/auth/derived-keys.ts';
import { AUTHENTICATION } from '../../../src/protocol/message-type.ts';
import { type LoginFailure, ServerLogin } from '../../../src/server/server-login.ts';
import { VirtualEnvironment } from '../../support/virtual-environment.ts';

test('a server that asks for MD5 where FIPS forbids it: the login fails, nothing is thrown', () => {
  const { createHash } = crypto;
  crypto.createHash = (algorithm, options) => {
    if (algorithm === 'md5') throw new Error('error:0308010C:digital envelope routines::unsupported');
    return createHash(algorithm, options);
  };
  syncBuiltinESMExports();
  onTestFinished(() => {
    crypto.createHash = createHash;
    syncBuiltinESMExports();
  });
  const failures: LoginFailure[] = [];
  const environment = new VirtualEnvironment();
  const login = new ServerLogin(
    {
      user: 'app',
      database: 'app',
      secret: () => ({ kind: 'plain', password: 'secret' }),
      requireAuth: [],
      channelBinding: 'prefer',
      parameters: [],
    },
    environment,
    new DerivedKeys(environment),
    {
      security: null,
      isPrivate: false,
      sendLogin: () => {},
      onLoginDone: () => {},
      onLoginFailed: (failure) => failures.push(failure),
    },
  );
  login.start(0);
  const body = Buffer.of(0, 0, 0, 5, 1, 2, 3, 4);
  login.onMessage(AUTHENTICATION, body, 0, body.length);
  expect(failures).toEqual([{ kind: 'impossible', reason: 'MD5 is not available on this platform' }]);
});
