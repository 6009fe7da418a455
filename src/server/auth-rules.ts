/**
 * Which ways of logging in we let a server choose (libpq's require_auth, as server_require_auth). It knows no messages.
 */

export type ServerAuthMethod = 'none' | 'password' | 'md5' | 'scram-sha-256';

/**
 * Why we do not log in by `method`; null if we do. `rules` are methods of which one is required, or, each behind a `!`, that
 * are refused; none of them is no rule. A password is sent in clear text only where nobody on the way can read it
 * (`isPrivate`: over TLS, or a Unix socket), or where a rule names it.
 */
export function methodProblem(rules: readonly string[], method: ServerAuthMethod, isPrivate: boolean): string | null {
  const isNamed = rules.includes(method);
  const isRequired = rules.some((rule) => !rule.startsWith('!'));
  if (isRequired ? !isNamed : rules.includes(`!${method}`)) {
    return `server asks for ${WORDS[method]}, which server_require_auth does not allow`;
  }
  if (method === 'password' && !isPrivate && !isNamed) {
    return 'server asks for the password in clear text on a connection without TLS: name "password" in server_require_auth to allow it';
  }
  return null;
}

const WORDS: Readonly<Record<ServerAuthMethod, string>> = {
  none: 'no authentication',
  password: 'the password in clear text',
  md5: 'MD5 authentication',
  'scram-sha-256': 'SCRAM authentication',
};
