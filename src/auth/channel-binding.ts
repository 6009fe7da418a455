/**
 * Whether a SCRAM exchange is bound to the TLS connection below it, so that nobody in the middle can relay it: what it
 * binds to, and which mechanism we choose of those that a server offers. It knows neither messages nor sockets.
 */
import type { TransportSecurity } from '../base/transport-security.ts';
import { certificateHash } from '../protocol/certificate-hash.ts';
import type { ScramBinding } from './scram-client.ts';
import { SCRAM_SHA_256, SCRAM_SHA_256_PLUS, type ScramMechanism } from './scram-messages.ts';

/** libpq's `channel_binding`. */
export type ChannelBindingMode = 'disable' | 'prefer' | 'require';

export type MechanismChoice =
  | { readonly ok: true; readonly mechanism: ScramMechanism; readonly binding: ScramBinding }
  /** `reason` is for the log. */
  | { readonly ok: false; readonly reason: string };

/** The data of tls-server-end-point; null without TLS, or with a certificate for which none is defined. */
export function channelBindingOf(security: TransportSecurity | null): Buffer | null {
  const certificate = security?.serverCertificate ?? null;
  return certificate === null ? null : certificateHash(certificate);
}

/**
 * Chooses as libpq does. An offer of SCRAM-SHA-256-PLUS that cannot be taken up ends the login, for it may be the trace
 * of somebody who has taken TLS away, or who shows a certificate that nothing can be bound to. With `disable` it is not
 * looked at.
 */
export function chooseMechanism(
  offered: readonly string[],
  security: TransportSecurity | null,
  mode: ChannelBindingMode,
): MechanismChoice {
  if (mode !== 'disable' && offered.includes(SCRAM_SHA_256_PLUS)) {
    if (security === null) return refuse('server offers channel binding without TLS (see server_channel_binding)');
    const data = channelBindingOf(security);
    if (data === null) return refuse('no channel can be bound to the certificate (see server_channel_binding)');
    return { ok: true, mechanism: SCRAM_SHA_256_PLUS, binding: { flag: 'p', data } };
  }
  if (mode === 'require') return refuse('server does not offer channel binding (server_channel_binding is require)');
  if (!offered.includes(SCRAM_SHA_256)) return refuse('server offers no SASL mechanism that we have');
  return {
    ok: true,
    mechanism: SCRAM_SHA_256,
    binding: { flag: security !== null && mode === 'prefer' ? 'y' : 'n' },
  };
}

function refuse(reason: string): MechanismChoice {
  return { ok: false, reason };
}
