/** Strangers cannot fill a disk by being refused, and what is left out is counted (issue 5: rate-limited). */
import { expect, it } from 'vitest';
import { FloodLog } from '../../../src/base/flood-log.ts';
import { RecordingLogger } from '../../support/recording-logger.ts';

function scene() {
  const clock = { nowMs: 0, now: () => clock.nowMs };
  const written = new RecordingLogger();
  return { clock, written, log: new FloodLog(clock, written) };
}

it('writes so many lines of a kind, and says later how many it left out', () => {
  const { clock, written, log } = scene();
  for (let i = 0; i < 250; i++) log.info({ reason: 'authentication_failed' }, 'no');
  expect(written.lines).toHaveLength(100);
  for (let i = 0; i < 3; i++) log.info({ cause: 'wrong password' }, 'another kind');
  expect(written.lines).toHaveLength(103);
  clock.nowMs = 10_000;
  log.info({ reason: 'authentication_failed' }, 'again');
  log.info({ reason: 'authentication_failed' }, 'and again');
  expect(written.lines.slice(-2)).toEqual([
    { level: 'info', fields: { reason: 'authentication_failed', leftOut: 150 }, message: 'again' },
    { level: 'info', fields: { reason: 'authentication_failed' }, message: 'and again' },
  ]);
});

it('leaves everything else alone', () => {
  const { written, log } = scene();
  for (let i = 0; i < 1000; i++) log.info({ client: '10.0.0.7:5', user: 'app' }, 'login');
  log.debug({}, 'one');
  log.warn({}, 'two');
  log.error({}, 'three');
  expect(written.lines.slice(1000).map(({ level, message }) => [level, message])).toEqual([
    ['debug', 'one'],
    ['warn', 'two'],
    ['error', 'three'],
  ]);
});
