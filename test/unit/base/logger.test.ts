/** The two forms of a line in the log. */
import { expect, test } from 'vitest';
import { createLogger, type LogFormat } from '../../../src/base/logger.ts';

function linesOf(format: LogFormat): { log: ReturnType<typeof createLogger>; lines: string[] } {
  const lines: string[] = [];
  return { log: createLogger('info', format, { write: (line) => void lines.push(line) }), lines };
}

test('json: one object a line', () => {
  const { log, lines } = linesOf('json');
  log.debug({}, 'not this');
  log.info({ client: '127.0.0.1:5' }, 'login');
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { level: 30, time: expect.any(Number), client: '127.0.0.1:5', msg: 'login' },
  ]);
});

test('text: lines as PgBouncer writes them, with the fields behind the message', () => {
  const { log, lines } = linesOf('text');
  log.debug({}, 'not this');
  log.info({ client: '127.0.0.1:5', user: 'two words', pid: 7, names: ['a'] }, 'login');
  log.warn({}, 'careful');
  log.error({ none: undefined }, 'failed');
  const start = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC \[${process.pid}\]`;
  const expected = [
    'LOG login client=127.0.0.1:5 user="two words" pid=7 names=\\["a"\\]',
    'WARNING careful',
    'ERROR failed',
  ];
  expect(lines).toEqual(expected.map((line) => expect.stringMatching(new RegExp(`^${start} ${line}\n$`))));
});

test('text: whatever a message holds, it stays one line', () => {
  const { log, lines } = linesOf('text');
  log.info({ server: 'a\nb' }, 'said \r\n2026-01-01 00:00:00.000 UTC [1] LOG \u001b[31mforged');
  expect(lines).toHaveLength(1);
  expect(lines[0]!.slice(0, -1)).not.toMatch(/\p{Cc}/u);
});
