import { describe, expect, it } from 'vitest';
import { AuthPolicy, type LoginAttempt, type PolicyType } from '../../../src/auth/auth-policy.ts';
import { parseHba } from '../../../src/auth/hba-parser.ts';
import { HbaRules } from '../../../src/auth/hba-rules.ts';
import { IdentMaps } from '../../../src/auth/ident-maps.ts';

const PLAIN: LoginAttempt = {
  kind: 'plain',
  address: '10.1.2.3',
  database: 'shop',
  user: 'ann',
  isPhysicalReplication: false,
  certificate: null,
  systemUser: null,
};
const TLS: LoginAttempt = { ...PLAIN, kind: 'tls' };

function certified(commonName: string | null): LoginAttempt {
  return { ...TLS, certificate: { commonName, distinguishedName: `CN=${commonName}` } };
}

function policy(authType: PolicyType, hba = '', ident = ''): AuthPolicy {
  const { rules } = parseHba(hba, 'hba', () => {
    throw new Error('no files');
  });
  return new AuthPolicy({ authType, rules: new HbaRules(rules), maps: IdentMaps.parse(ident, 'ident').maps });
}

describe('the method of a login', () => {
  it.each(['any', 'trust', 'plain', 'md5', 'scram-sha-256'] as const)('is auth_type %s', (authType) => {
    expect(policy(authType).decide(PLAIN)).toMatchObject({ outcome: 'ask', method: authType, line: null });
  });

  it('is that of the HBA line', () => {
    const { decide } = {
      decide: (attempt: LoginAttempt) =>
        policy('hba', 'hostssl all all all md5\nhost all all all reject').decide(attempt),
    };
    expect(decide(TLS)).toMatchObject({ outcome: 'ask', method: 'md5', line: 1 });
    expect(decide(PLAIN)).toMatchObject({ outcome: 'refuse', line: 2 });
  });

  it('is none where no line matches', () => {
    expect(policy('hba', 'local all all trust').decide(PLAIN)).toMatchObject({ outcome: 'refuse', line: null });
  });

  it.each([
    ['its own user', certified('ann'), 'ask'],
    ['another user', certified('bob'), 'refuse'],
    ['a user of other case', certified('Ann'), 'refuse'],
    ['nobody', certified(null), 'refuse'],
    ['the empty name', { ...certified(''), user: '' }, 'refuse'],
  ])('cert: a certificate for %s', (_, attempt, outcome) => {
    expect(policy('cert').decide(attempt).outcome).toBe(outcome);
  });

  it('cert: nobody without TLS or a certificate', () => {
    expect(policy('cert').decide(TLS).outcome).toBe('refuse');
    expect(policy('cert').decide({ ...certified('ann'), kind: 'plain' }).outcome).toBe('refuse');
  });

  it('cert: with a map', () => {
    const mapped = policy('hba', 'hostssl all all all cert map=staff', 'staff bob ann');
    expect(mapped.decide(certified('bob'))).toMatchObject({ outcome: 'ask', method: 'trust' });
    expect(mapped.decide(certified('ann')).outcome).toBe('refuse');
  });

  it('peer: only where the system says who it is', () => {
    const peer = policy('hba', 'local all all peer');
    const unix: LoginAttempt = { ...PLAIN, kind: 'unix', address: '' };
    expect(peer.decide(unix).outcome).toBe('refuse');
    expect(peer.decide({ ...unix, systemUser: 'ann' })).toMatchObject({ outcome: 'ask', method: 'trust' });
    expect(peer.decide({ ...unix, systemUser: 'bob' }).outcome).toBe('refuse');
    expect(
      policy('hba', 'local all all peer map=os', 'os bob ann').decide({ ...unix, systemUser: 'bob' }).outcome,
    ).toBe('ask');
  });
});
