/** What a pool remembers of a failure, and whom it tells what. */
import { describe, expect, test } from 'vitest';
import { ServerHealth } from '../../../src/pool/server-health.ts';
import type { ServerFailure } from '../../../src/server/server-holder.ts';

const refused = (sqlstate: string): ServerFailure => ({
  kind: 'refused',
  fields: { severity: 'FATAL', sqlstate, message: 'the server’s words', detail: 'detail', hint: null, routine: null },
});
const unreachable: ServerFailure = { kind: 'unreachable', reason: 'connect ECONNREFUSED' };

describe('health', () => {
  test('is good until something fails, and good again after a success', () => {
    const health = new ServerHealth();
    expect([health.isFailing, health.mayTry(0, 100)]).toEqual([false, true]);
    health.failed(unreachable, 1000, 15_000);
    expect(health.isFailing).toBe(true);
    health.succeeded();
    expect([health.isFailing, health.mayTry(1000, 100)]).toEqual([false, true]);
  });

  test('one probe at a time, and none before server_login_retry', () => {
    const health = new ServerHealth();
    health.failed(unreachable, 1000, 15_000);
    expect(health.mayTry(15_999, 0)).toBe(false);
    expect(health.mayTry(16_000, 0)).toBe(true);
    expect(health.mayTry(16_000, 1)).toBe(false);
  });

  test.each([0, 0.5, 1])('a retry of %d ms is never in the same instant', (retryMs) => {
    const health = new ServerHealth();
    health.failed(unreachable, 1000, retryMs);
    expect(health.mayTry(1000, 0)).toBe(false);
    expect(health.mayTry(1001, 0)).toBe(true);
  });

  test.each(['57P03', '53300'])('%s passes by itself: tried again after a second', (code) => {
    const health = new ServerHealth();
    health.failed(refused(code), 1000, 15_000);
    expect(health.isTemporary).toBe(true);
    expect([health.mayTry(1900, 0), health.mayTry(2000, 0)]).toEqual([false, true]);
    health.failed(refused(code), 1000, 300);
    expect(health.mayTry(1300, 0)).toBe(true);
  });

  test.each(['28P01', '3D000', '28000', 'XX000'])('%s does not', (code) => {
    const health = new ServerHealth();
    health.failed(refused(code), 1000, 15_000);
    expect(health.isTemporary).toBe(false);
  });

  test('who waited hears the server’s own error; who comes later, that it is an old one', () => {
    const health = new ServerHealth();
    health.failed(refused('28P01'), 0, 1);
    expect(health.reportForWaiters()).toEqual({
      severity: 'FATAL',
      sqlstate: '28P01',
      message: 'the server’s words',
      detail: 'detail',
    });
    expect(health.reportForNewcomers()).toMatchObject({ severity: 'FATAL', sqlstate: '28P01' });
    expect(health.reportForNewcomers().message).toContain('server_login_retry');
    health.failed(unreachable, 0, 1);
    expect(health.reportForWaiters().sqlstate).toBe('08006');
    expect(health.reportForNewcomers().message).toContain('connect ECONNREFUSED');
  });
});
