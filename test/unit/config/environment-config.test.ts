import { describe, expect, it } from 'vitest';
import type { Config } from '../../../src/config/config.ts';
import { formatProblem } from '../../../src/config/config-error.ts';
import { configFromEnvironment } from '../../../src/config/environment-config.ts';
import { settingFromCommandLine, settingsFromEnvironment } from '../../../src/config/given-settings.ts';
import { parseIniConfig, parseYamlConfig } from '../../../src/config/load-config.ts';
import { problemsOf } from './problems-of.ts';

type Variables = Readonly<Record<string, string>>;

const URL = 'postgres://app:secret@db.example:5433/shop';

function read(variables: Variables): Config | null {
  return configFromEnvironment(variables, settingsFromEnvironment(variables));
}

function problems(variables: Variables): string[] {
  return problemsOf(() => read(variables));
}

describe('a configuration from the environment', () => {
  it('is not there where no server is named', () => {
    for (const variables of [
      {},
      { DATABASE_URL: '' },
      { PGUSER: 'a', PGPORT: '1' },
      { TSBOUNCER_POOL_MODE: 'session' },
    ]) {
      expect(read(variables)).toBeNull();
    }
  });

  it('pools what DATABASE_URL names, for who knows its user and password, on this machine only', () => {
    const config = read({ DATABASE_URL: URL })!;
    expect([...config.databases.keys()]).toEqual(['shop']);
    expect(config.fallbackDatabase).toBeNull();
    expect(config.databases.get('shop')).toMatchObject({
      hosts: ['db.example'],
      port: 5433,
      dbname: 'shop',
      user: 'app',
      password: 'secret',
    });
    expect(config.users.get('app')?.password).toEqual(['secret']);
    expect(config.settings).toMatchObject({ authType: 'scram-sha-256', listenAddr: ['127.0.0.1'], listenPort: 6432 });
  });

  it('takes what the URL does not say from the PG variables', () => {
    const variables = { PGHOST: 'h', PGPORT: '7', PGUSER: 'u', PGPASSWORD: 'p', PGDATABASE: 'd', PGSSLMODE: 'prefer' };
    const expected = { hosts: ['h'], port: 7, user: 'u', password: 'p', dbname: 'd' };
    expect(read(variables)!.databases.get('d')).toMatchObject(expected);
    const { PGPASSWORD, PGPORT } = variables;
    const config = read({ DATABASE_URL: 'postgres://a@b/c', PGPASSWORD, PGPORT, PGHOST: 'x' })!;
    expect(config.databases.get('c')).toMatchObject({ hosts: ['b'], port: 7, user: 'a', password: 'p' });
  });

  it('calls a database without a name as its user, as libpq does', () => {
    expect([...read({ PGHOST: 'h', PGUSER: 'u' })!.databases.keys()]).toEqual(['u']);
  });

  it('has settings in the URL and in the environment', () => {
    const config = read({
      DATABASE_URL: `${URL}?pool_size=7`,
      TSBOUNCER_POOL_MODE: 'transaction',
      TSBOUNCER_LISTEN_PORT: '7000',
    })!;
    expect(config.databases.get('shop')?.poolSize).toBe(7);
    expect(config.settings).toMatchObject({ poolMode: 'transaction', listenPort: 7000 });
  });

  it('leaves to the client what is the client’s, and says so', () => {
    const config = read({ DATABASE_URL: `${URL}?schema=public&connection_limit=5&sslmode=disable` })!;
    expect(config.warnings.map(formatProblem)).toEqual([
      'environment variable DATABASE_URL: the parameter "schema" is left to the client',
      'environment variable DATABASE_URL: the parameter "connection_limit" is left to the client',
    ]);
  });

  it('never ignores a demand for security', () => {
    for (const parameter of ['sslmode=require', 'sslrootcert=x', 'channel_binding=require', 'gssencmode=require']) {
      expect(problems({ DATABASE_URL: `${URL}?${parameter}` })).toEqual([
        expect.stringMatching(/^environment variable DATABASE_URL: /),
      ]);
    }
    expect(problems({ PGHOST: 'h', PGUSER: 'u', PGSSLMODE: 'verify-full' })).toEqual([
      expect.stringMatching(/^environment variable PGSSLMODE: /),
    ]);
  });

  it('lets nobody in from outside without a password, unless it is told how', () => {
    const variables = { DATABASE_URL: 'postgres://app@h/d' };
    expect(read(variables)!.settings.authType).toBe('any');
    expect(problems({ ...variables, TSBOUNCER_LISTEN_ADDR: '*' })).toEqual([
      'environment variable DATABASE_URL: listen_addr lets other machines in, and there is no password that clients could be asked for: give one, or say with TSBOUNCER_AUTH_TYPE how clients are known',
    ]);
    const told = read({ ...variables, TSBOUNCER_LISTEN_ADDR: '*', TSBOUNCER_AUTH_TYPE: 'any' })!;
    expect(told.settings).toMatchObject({ listenAddr: ['*'], authType: 'any' });
    expect(read({ DATABASE_URL: URL, TSBOUNCER_LISTEN_ADDR: '*' })!.settings.authType).toBe('scram-sha-256');
  });

  it('does not connect to itself', () => {
    for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
      expect(problems({ DATABASE_URL: `postgres://a:b@${host}:6432/d` })).toEqual([
        'environment variable DATABASE_URL: the pooler would connect to itself: it listens on port 6432 of this machine',
      ]);
    }
    expect(read({ DATABASE_URL: 'postgres://a:b@127.0.0.1:6432/d', TSBOUNCER_LISTEN_PORT: '7000' })).not.toBeNull();
  });

  it('never shows a value in its problems', () => {
    const hunter = 'hunter2';
    const wrong: Variables[] = [
      { DATABASE_URL: hunter },
      { DATABASE_URL: `mysql://${hunter}` },
      { DATABASE_URL: `postgres://u:${hunter}/x@h` },
      { DATABASE_URL: `postgres://u:p@h:${hunter}/d` },
      { DATABASE_URL: `postgres://h/${hunter}` },
      { DATABASE_URL: `postgres://u:${hunter}@h/d?port=x` },
      { PGHOST: 'h', PGUSER: 'u', PGPORT: hunter },
      { DATABASE_URL: URL, TSBOUNCER_LISTEN_PORT: hunter },
    ];
    for (const variables of wrong) {
      const text = problems(variables).join('\n');
      expect(text).toMatch(/^environment variable /);
      expect(text).not.toContain(hunter);
    }
  });
});

describe('settings that are given beside a file', () => {
  const YAML = 'pgbouncer: {pool_mode: session}\ndatabases: {a: }';

  it('win over the file’s, in each format', () => {
    const settings = settingsFromEnvironment({
      TSBOUNCER_POOL_MODE: 'statement',
      TSBOUNCER_MAX_CLIENT_CONN: '7',
      TSBOUNCER_LOG_LEVEL: '',
    });
    expect(parseYamlConfig(YAML, 'a.yaml', { given: settings }).settings).toMatchObject({
      poolMode: 'statement',
      maxClientConn: 7,
      logLevel: 'info',
    });
    expect(parseYamlConfig('pgbouncer:\ndatabases: {a: }', 'a.yaml', { given: settings }).settings.poolMode).toBe(
      'statement',
    );
    expect(parseYamlConfig('databases: {a: }', 'a.yaml', { given: settings }).settings.poolMode).toBe('statement');
    const ini = parseIniConfig('[pgbouncer]\npool_mode=session\nlisten_addr=a', 'p.ini', { given: settings });
    expect(ini.settings).toMatchObject({ poolMode: 'statement', listenAddr: ['a'] });
  });

  it('lets the command line win over the environment', () => {
    const both = [...settingsFromEnvironment({ TSBOUNCER_VERBOSE: '3' }), settingFromCommandLine('-v', 'verbose', '1')];
    expect(parseYamlConfig(YAML, 'a.yaml', { given: both }).settings.verbose).toBe(1);
  });

  it('are refused by their names', () => {
    const variables = { TSBOUNCER_POOL_MOD: 'session', TSBOUNCER_LISTEN_PORT: 'x' };
    expect(
      problemsOf(() => parseYamlConfig(YAML, 'a.yaml', { given: settingsFromEnvironment(variables) })).toSorted(),
    ).toEqual([
      'environment variable TSBOUNCER_LISTEN_PORT: bad value for "listen_port": expected whole number from 0 to 65535, found something else in ${TSBOUNCER_LISTEN_PORT}',
      'environment variable TSBOUNCER_POOL_MOD: unknown setting "pool_mod" (did you mean "pool_mode"?)',
    ]);
    expect(
      problemsOf(() => parseYamlConfig(YAML, 'a.yaml', { given: [settingFromCommandLine('-v', 'verbose', 'x')] })),
    ).toEqual(['option -v: bad value for "verbose": expected a whole number from 0, found "x"']);
  });

  it('are not what Kubernetes sets for a service of our name', () => {
    const links = {
      TSBOUNCER_SERVICE_HOST: '10.0.0.1',
      TSBOUNCER_SERVICE_PORT: '6432',
      TSBOUNCER_SERVICE_PORT_POSTGRES: '6432',
      TSBOUNCER_PORT: 'tcp://10.0.0.1:6432',
      TSBOUNCER_PORT_6432_TCP: 'tcp://10.0.0.1:6432',
      TSBOUNCER_PORT_6432_TCP_PROTO: 'tcp',
      TSBOUNCER_PORT_6432_TCP_ADDR: '10.0.0.1',
    };
    expect(settingsFromEnvironment({ ...links, TSBOUNCER_IMAGE_DIGEST: 'x', TSBOUNCER_: 'x' })).toEqual([]);
  });
});
