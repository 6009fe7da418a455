import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { configFromObject } from '../../../src/config/load-config.ts';
import { problemsOf } from './problems-of.ts';

describe('a configuration from an object', () => {
  it('has the shape of the YAML', () => {
    const config = configFromObject({
      pgbouncer: {
        pool_mode: 'transaction',
        listen_port: 0,
        listen_addr: ['127.0.0.1', '::1'],
        query_wait_timeout: 0.5,
        auth_file: 'users.txt',
      },
      databases: { app: 'postgres://h/db', other: { host: 'h', pool_size: 3 }, '*': {} },
      users: { alice: { pool_mode: 'session' } },
    });
    expect(config.path).toBeNull();
    expect(config.settings).toMatchObject({
      poolMode: 'transaction',
      listenAddr: ['127.0.0.1', '::1'],
      queryWaitTimeoutMs: 500,
      authFile: resolve('users.txt'),
    });
    expect(config.databases.get('app')).toMatchObject({ hosts: ['h'], dbname: 'db' });
    expect(config.databases.get('other')!.poolSize).toBe(3);
    expect(config.fallbackDatabase).not.toBeNull();
    expect(config.users.get('alice')!.poolMode).toBe('session');
    expect(Object.isFrozen(config.databases.get('app'))).toBe(true);
  });

  it('says where in the object each problem is', () => {
    const value = {
      pgbouncer: {
        pool_mod: 'session',
        listen_port: -1,
        auth_ldap_options: 'x',
        log_level: Symbol('x'),
        server_reset_query: 5,
      },
      databases: {
        'a.b': { host: 3 },
        list: { host: ['a', '@b'] },
        text: 'x',
        missing: undefined,
        date: new Date(0),
        map: new Map(),
      },
      users: { bob: () => 1 },
    };
    expect(problemsOf(() => configFromObject(value))).toEqual([
      'pgbouncer.pool_mod: unknown setting "pool_mod" (did you mean "pool_mode"?)',
      'pgbouncer.listen_port: bad value for "listen_port": expected a whole number from 0 to 65535, found -1',
      'pgbouncer.auth_ldap_options: PgBouncer\'s setting "auth_ldap_options" is not supported yet',
      'pgbouncer.log_level: bad value for "log_level": expected one of debug, info, warn, error, found a symbol',
      'pgbouncer.server_reset_query: bad value for "server_reset_query": expected text, found 5',
      'databases["a.b"].host: bad value for "host": expected host names or addresses, found 3',
      'databases.list.host: bad value for "host": abstract Unix sockets (names that begin with @) cannot be reached from Node as libpq reaches them',
      'databases.text: bad connection string: expected key=value at character 1 (a value with spaces needs single quotes)',
      'databases.missing: expected a mapping or a connection string, found undefined',
      'databases.date: expected a mapping or a connection string, found an object that is not a plain one',
      'databases.map: expected a mapping or a connection string, found an object that is not a plain one',
      'users.bob: expected a mapping with settings of the user, found a function',
    ]);
    expect(problemsOf(() => configFromObject('text'))).toEqual([
      'expected a mapping with the sections pgbouncer, databases, users and peers, found text',
      'no databases: "databases" needs at least one entry',
    ]);
  });

  it('takes a setting that is undefined for one that is not given', () => {
    const config = configFromObject({
      pgbouncer: { pool_mode: undefined },
      users: undefined,
      databases: { app: { password: undefined } },
    });
    expect(config.settings.poolMode).toBe('session');
    expect(config.databases.get('app')!.password).toBeNull();
  });

  it('takes names that an object would stumble over', () => {
    const databases: unknown = JSON.parse('{"__proto__": {"host": "h"}, "constructor": {}}');
    const config = configFromObject({ databases });
    expect([...config.databases.keys()]).toEqual(['__proto__', 'constructor']);
    expect(config.databases.get('__proto__')!.hosts).toEqual(['h']);
    const bare: unknown = Object.create(null);
    expect(configFromObject({ databases: { a: bare } }).databases.size).toBe(1);
  });

  it('is not led in circles', () => {
    const twice: Record<string, unknown> = {};
    twice['a'] = twice;
    twice['b'] = twice;
    expect(problemsOf(() => configFromObject({ databases: { app: { host: twice } } }))[0]).toMatch(
      /: (?:nested too deeply|the configuration is too large)$/,
    );
    const wide: unknown[] = Array.from({ length: 1000 }, () => 1);
    const wider = wide.map(() => wide);
    expect(problemsOf(() => configFromObject({ databases: wider.map(() => wider) }))).toEqual([
      expect.stringMatching(/the configuration is too large$/),
    ]);
  });

  it('is refused where it cannot be read', () => {
    const trap = {
      get host(): string {
        throw new Error('no');
      },
    };
    expect(problemsOf(() => configFromObject({ databases: { app: trap } }))).toEqual([
      'databases.app: expected a mapping or a connection string, found an object that is not a plain one',
    ]);
  });
});
