/** The two forms of a line in the log. */
import { describe, expect, test } from 'vitest';
import { createLogger, type LogFields, type LogFormat, type Logger } from '../../../src/base/logger.ts';

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

const START = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC \[${process.pid}\]`;

/** What stands behind the time and the process in the lines that `write` causes. */
function textOf(write: (log: Logger) => void): string[] {
  const { log, lines } = linesOf('text');
  write(log);
  for (const line of lines) expect(line).toMatch(new RegExp(`^${START} [A-Z]+ .*\n$`));
  return lines.map((line) => line.slice(line.indexOf('] ') + 2, -1));
}

test('text: the form of PgBouncer’s lines, with the fields behind the message', () => {
  expect(
    textOf((log) => {
      log.debug({}, 'not this');
      log.info({ file: 'two words', pid: 7, names: ['a'], path: '/tmp/a' }, 'something');
      log.warn({}, 'careful');
      log.error({ none: undefined }, 'failed');
    }),
  ).toEqual(['LOG something file="two words" pid=7 names=["a"] path=/tmp/a', 'WARNING careful', 'ERROR failed']);
});

describe('text: PgBouncer’s words', () => {
  const client = { client: '10.0.0.7:50123', database: 'app', user: 'alice' };
  const server = { server: '10.0.0.2:5432', database: 'app', user: 'alice', pid: 255 };
  const C = 'C-0x[0-9a-f]{8}: ';
  test.each<[string, string, LogFields, string]>([
    ['login', 'login', client, `LOG ${C}app/alice@10.0.0.7:50123 login attempt: db=app user=alice`],
    [
      'login',
      'a login by TLS',
      { ...client, tls: 'no' },
      `LOG ${C}app/alice@10.0.0.7:50123 login attempt: db=app user=alice tls=no`,
    ],
    [
      'login refused',
      'a failed login',
      { ...client, cause: 'wrong password' },
      `LOG ${C}app/alice@10.0.0.7:50123 login failed: db=app user=alice cause="wrong password"`,
    ],
    [
      'no such database: x',
      'an error of ours',
      { ...client, reason: 'no_such_database', sqlstate: '3D000' },
      `WARNING ${C}app/alice@10.0.0.7:50123 pooler error: no such database: x`,
    ],
    [
      'SSL required',
      'nobody yet',
      { client: '::1:50', reason: 'startup_refused', sqlstate: '08P01' },
      `WARNING ${C}\\(nodb\\)/\\(nouser\\)@\\[::1\\]:50 pooler error: SSL required`,
    ],
    [
      'closing because: client close request',
      'a client that has left',
      { ...client, reason: 'terminated', ageMs: 3999 },
      `LOG ${C}app/alice@10.0.0.7:50123 closing because: client close request \\(age=3s\\)`,
    ],
    [
      'closing server: idle_timeout',
      'a server',
      server,
      'LOG S-0xff: app/alice@10.0.0.2:5432 closing because: server idle timeout',
    ],
    [
      'closing server: eof',
      'its age',
      { ...server, ageMs: 61_000 },
      'LOG S-0xff: app/alice@10.0.0.2:5432 closing because: server conn crashed\\? \\(age=61s\\)',
    ],
    [
      'server login failed: FATAL: no',
      'a server login',
      server,
      'LOG S-0xff: app/alice@10.0.0.2:5432 server login failed: FATAL: no',
    ],
    ['stats: 1 xacts/s, 2 queries/s', 'statistics', { queriesPerSecond: 2 }, 'LOG stats: 1 xacts/s, 2 queries/s'],
    ['shutting down', 'a signal', { signal: 'SIGTERM' }, 'LOG got SIGTERM, shutting down'],
  ])('%s: %s', (message, _what, fields, expected) => {
    expect(textOf((log) => log.info(fields, message))).toEqual([expect.stringMatching(new RegExp(`^${expected}$`))]);
  });

  test('a line for each address, and one that says it is up', () => {
    const addresses = ['127.0.0.1:6432', '::1:6432', '/tmp/.s.PGSQL.6432'];
    expect(textOf((log) => log.info({ addresses, version: '1.2.3' }, 'listening'))).toEqual([
      'LOG listening on 127.0.0.1:6432',
      'LOG listening on [::1]:6432',
      'LOG listening on unix:/tmp/.s.PGSQL.6432',
      expect.stringMatching(/^LOG process up: tsbouncer 1\.2\.3, Node\.js [\d.]+, tls: OpenSSL \d/),
    ]);
  });

  test('one handle for a connection, others for others', () => {
    const handles = ['10.0.0.7:1', '10.0.0.7:2', '10.0.0.8:1', '10.0.0.7:1'].map(
      (address) => textOf((log) => log.info({ ...client, client: address }, 'login'))[0]!.split(' ')[1],
    );
    expect(new Set(handles.slice(0, 3)).size).toBe(3);
    expect(handles[3]).toBe(handles[0]);
  });
});

test('text: whatever a message holds, it stays one line', () => {
  const { log, lines } = linesOf('text');
  log.info({ server: 'a\nb' }, 'said \r\n2026-01-01 00:00:00.000 UTC [1] LOG \u001b[31mforged');
  expect(lines).toHaveLength(1);
  expect(lines[0]!.slice(0, -1)).not.toMatch(/\p{Cc}/u);
});
