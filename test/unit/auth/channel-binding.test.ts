/** Which mechanism a server is answered with: libpq's table of channel_binding. */
import { describe, expect, test } from 'vitest';
import { channelBindingOf, chooseMechanism } from '../../../src/auth/channel-binding.ts';
import type { TransportSecurity } from '../../../src/base/transport-security.ts';
import { certificateHash } from '../../../src/protocol/certificate-hash.ts';
import { certificates } from '../protocol/certificates.ts';

const secured = (serverCertificate: Buffer | null): TransportSecurity => ({
  version: 'TLSv1.3',
  cipher: 'TLS_AES_256_GCM_SHA384',
  serverCertificate,
  peer: null,
});

const CERTIFICATE = certificates['ecdsa-sha384'];
const TLS = secured(CERTIFICATE);
const UNBINDABLE = secured(certificates.ed25519);
const PLUS = 'SCRAM-SHA-256-PLUS';
const PLAIN = 'SCRAM-SHA-256';

describe('channelBindingOf', () => {
  test('is the hash of the certificate, if there is one', () => {
    expect(channelBindingOf(TLS)).toEqual(certificateHash(CERTIFICATE));
    expect(channelBindingOf(UNBINDABLE)).toBeNull();
    expect(channelBindingOf(secured(null))).toBeNull();
    expect(channelBindingOf(null)).toBeNull();
  });
});

describe('chooseMechanism', () => {
  test.each([
    ['prefer', TLS, [PLUS, PLAIN], `${PLUS} p`],
    ['prefer', TLS, [PLAIN, PLUS], `${PLUS} p`],
    ['prefer', TLS, [PLUS], `${PLUS} p`],
    ['prefer', TLS, [PLAIN], `${PLAIN} y`],
    ['prefer', UNBINDABLE, [PLAIN], `${PLAIN} y`],
    ['prefer', null, [PLAIN], `${PLAIN} n`],
    ['require', TLS, [PLUS, PLAIN], `${PLUS} p`],
    ['disable', TLS, [PLUS, PLAIN], `${PLAIN} n`],
    ['disable', TLS, [PLAIN], `${PLAIN} n`],
    ['disable', null, [PLUS, PLAIN], `${PLAIN} n`],
    ['disable', UNBINDABLE, [PLUS, PLAIN], `${PLAIN} n`],
  ] as const)('%s (%#)', (mode, security, offered, expected) => {
    const choice = chooseMechanism(offered, security, mode);
    if (!choice.ok) throw new Error(choice.reason);
    expect(`${choice.mechanism} ${choice.binding.flag}`).toBe(expected);
    if (choice.binding.flag === 'p') expect(choice.binding.data).toEqual(certificateHash(CERTIFICATE));
  });

  test.each([
    ['prefer', null, [PLUS, PLAIN], 'without TLS'],
    ['prefer', UNBINDABLE, [PLUS, PLAIN], 'certificate'],
    ['require', null, [PLUS, PLAIN], 'without TLS'],
    ['require', null, [PLAIN], 'does not offer'],
    ['require', TLS, [PLAIN], 'does not offer'],
    ['require', UNBINDABLE, [PLUS], 'certificate'],
    ['disable', TLS, [PLUS], 'no SASL mechanism'],
    ['prefer', TLS, ['OAUTHBEARER'], 'no SASL mechanism'],
    ['prefer', null, [], 'no SASL mechanism'],
  ] as const)('%s refuses (%#)', (mode, security, offered, reason) => {
    const choice = chooseMechanism(offered, security, mode);
    expect(choice.ok ? 'chosen' : choice.reason).toContain(reason);
  });
});
