import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Config, DatabaseConfig } from '../../../src/config/config.ts';
import { configFromObject, parseIniConfig, parseYamlConfig } from '../../../src/config/load-config.ts';
import { problemsOf } from './problems-of.ts';

const folder = mkdtempSync(join(tmpdir(), 'references-'));
afterAll(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, 'password'), `two "words" '\\@/?&=%\n`);

const variables = {
  PORT: '7000',
  HOST: '10.0.0.2',
  PASSWORD: `it's a \\ "secret"@/?&=%20`,
  EMPTY: '',
  YES: 'yes',
  URL: 'postgres://app:pw@10.0.0.3:5433/shop?pool_size=3',
  DSN: 'host=10.0.0.4 dbname=shop',
  REFERENCE: '${PASSWORD}',
};

function parse(text: string): Config {
  return parseYamlConfig(text, join(folder, 'p.yaml'), { variables });
}

function problems(text: string): string[] {
  return problemsOf(() => parse(text)).map((problem) => problem.replace(`${folder}/p.yaml:`, ''));
}

function database(value: string): DatabaseConfig {
  return parse(`databases: {app: ${JSON.stringify(value)}}`).databases.get('app')!;
}

describe('references in YAML', () => {
  it('are replaced in the values of settings, whatever their kind', () => {
    const config = parse(`
pgbouncer:
  listen_port: \${PORT}
  listen_addr: ["127.0.0.1", "\${HOST}"]
  log_connections: '\${YES}'
  query_timeout: \${NONE:-1.5}
  default_pool_size: \${EMPTY:-7}
  server_reset_query: "a \${NONE:-b c} $\${d} $ e"
  auth_file: \${EMPTY}
databases: {app: {host: "\${HOST}", password: "\${file:password}"}}
users: {bob: {password: "\${PASSWORD}"}}
`);
    expect(config.settings).toMatchObject({
      listenPort: 7000,
      listenAddr: ['127.0.0.1', '10.0.0.2'],
      logConnections: true,
      queryTimeoutMs: 1500,
      defaultPoolSize: 7,
      serverResetQuery: 'a b c ${d} $ e',
      authFile: null,
    });
    expect(config.databases.get('app')?.password).toBe(`two "words" '\\@/?&=%`);
    expect(config.users.get('bob')?.password).toEqual([variables.PASSWORD]);
  });

  it.each([
    ['host=${HOST} password=${PASSWORD} port=1', { hosts: ['10.0.0.2'], password: variables.PASSWORD, port: 1 }],
    ["password='a ${PASSWORD}'", { password: `a ${variables.PASSWORD}` }],
    ['password=${file:password}', { password: `two "words" '\\@/?&=%` }],
    [
      'postgres://u:${PASSWORD}@${HOST}:${PORT}/db',
      { user: 'u', password: variables.PASSWORD, hosts: ['10.0.0.2'], port: 7000 },
    ],
    ['postgres://u:${file:password}@h/db', { password: `two "words" '\\@/?&=%`, dbname: 'db' }],
    ['${URL}', { hosts: ['10.0.0.3'], password: 'pw', poolSize: 3 }],
    ['${URL}&max_db_connections=${NONE:-9}', { poolSize: 3, maxDbConnections: 9 }],
    ['${DSN} password=${PASSWORD}', { hosts: ['10.0.0.4'], password: variables.PASSWORD }],
    ['password=$${x}', { password: '${x}' }],
    ['password=${REFERENCE}', { password: '${PASSWORD}' }],
  ])('keep their place in a connection string: %s', (text, expected) => expect(database(text)).toMatchObject(expected));

  it.each([
    ['${NONE}', 'the environment variable "NONE" is not set'],
    ['${file:none}', `${folder}/none: cannot be read: no such file`],
    ['${file:}', 'expected ${NAME}, ${NAME:-default} or ${file:path} ("$${" stands for "${")'],
    ['${no-name}', 'expected ${NAME}, ${NAME:-default} or ${file:path} ("$${" stands for "${")'],
    ['a ${PORT', 'expected ${NAME}, ${NAME:-default} or ${file:path} ("$${" stands for "${")'],
    ['${file:/dev/zero}', '/dev/zero: larger than 1048576 bytes, which is too large for a configuration'],
  ])('are refused where they stand: %s', (text, problem) => {
    expect(problems(`pgbouncer: {login_notify_message: ${JSON.stringify(text)}}\ndatabases: {a: }`)).toEqual([
      `1:35: ${problem}`,
    ]);
  });

  it('never put a value into a message', () => {
    const settings = ['listen_port', 'pool_mode', 'listen_addr', 'query_timeout', 'max_packet_size', 'log_stats'];
    const secret = 'hunter2 *,*';
    for (const name of settings) {
      const read = () =>
        parseYamlConfig(`pgbouncer: {${name}: "\${X}"}\ndatabases: {a: }`, 'p.yaml', { variables: { X: secret } });
      expect(problemsOf(read).join('\n')).toMatch(
        /^p\.yaml:1:\d+: bad value for "\w+": expected [^]*, found something else in \$\{X\}$/,
      );
    }
    for (const value of [
      'hunter2',
      'hunter2=x',
      'postgres://h/d?hunter2=3',
      'postgres://u:p@h:hunter2/',
      "x='hunter2",
    ]) {
      for (const written of ['${X}', '{host: "${X}", port: "${X}"}', 'host=a ${X}']) {
        const text = `databases: {a: ${written.startsWith('{') ? written : JSON.stringify(written)}}`;
        const read = () => parseYamlConfig(text, 'p.yaml', { variables: { X: value } });
        expect(problemsOf(read).join('\n')).not.toContain('hunter2');
      }
    }
  });

  it('are bounded in what they stand for together', () => {
    const X = 'x'.repeat(100_000);
    const text = `pgbouncer: {login_notify_message: "${'${X}'.repeat(100_000)}"}\ndatabases: {a: }`;
    expect(problemsOf(() => parseYamlConfig(text, 'p.yaml', { variables: { X } }))).toEqual([
      'p.yaml:1:35: references stand for more than 1048576 characters',
    ]);
  });

  it('are plain text in an object and in an .ini', () => {
    const object = configFromObject({ pgbouncer: { login_notify_message: '${X}' }, databases: { a: {} } });
    const ini = parseIniConfig('[pgbouncer]\nlisten_addr=a\nlogin_notify_message=${X}', 'p.ini');
    expect([object, ini].map(({ settings }) => settings.loginNotifyMessage)).toEqual(['${X}', '${X}']);
  });
});
