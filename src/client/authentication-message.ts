/** What the authenticator asks, as the Authentication… messages of the protocol. It knows nothing of what they mean. */
import type { AuthenticationRequest } from '../auth/authenticator.ts';
import * as message from '../protocol/server-messages.ts';

const AUTHENTICATION_CODES: Readonly<Record<AuthenticationRequest['type'], number>> = {
  ok: 0,
  cleartext: 3,
  md5: 5,
  sasl: 10,
  saslContinue: 11,
  saslFinal: 12,
};

export function authenticationMessage(request: AuthenticationRequest): Buffer {
  const code = AUTHENTICATION_CODES[request.type];
  switch (request.type) {
    case 'ok':
    case 'cleartext':
      return message.authenticationRequest(code);
    case 'md5':
      return message.authenticationRequest(code, request.salt);
    case 'sasl':
      return message.authenticationRequest(code, message.saslMechanisms(request.mechanisms));
    case 'saslContinue':
    case 'saslFinal':
      return message.authenticationRequest(code, request.data);
  }
}
