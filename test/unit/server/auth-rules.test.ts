import { expect, test } from 'vitest';
import { methodProblem } from '../../../src/server/auth-rules.ts';

const METHODS = ['none', 'password', 'md5', 'scram-sha-256'] as const;

/** Those that are let through, on a connection that others can read, and on one that nobody can. */
test.each([
  [[], ['none', 'md5', 'scram-sha-256'], [...METHODS]],
  [['password'], ['password'], ['password']],
  [['scram-sha-256'], ['scram-sha-256'], ['scram-sha-256']],
  [
    ['none', 'md5'],
    ['none', 'md5'],
    ['none', 'md5'],
  ],
  [['!password'], ['none', 'md5', 'scram-sha-256'], ['none', 'md5', 'scram-sha-256']],
  [['!md5', '!none'], ['scram-sha-256'], ['password', 'scram-sha-256']],
])('server_require_auth %j', (rules, plain, secured) => {
  expect(METHODS.filter((method) => methodProblem(rules, method, false) === null)).toEqual(plain);
  expect(METHODS.filter((method) => methodProblem(rules, method, true) === null)).toEqual(secured);
});

test('the refusal of a password in clear text names the setting', () => {
  expect(methodProblem([], 'password', false)).toContain('server_require_auth');
});
