import { describe, expect, it } from 'vitest';
import type { Config, DatabaseConfig } from '../../../src/config/config.ts';
import { parseYamlConfig } from '../../../src/config/load-config.ts';
import { problemsOf } from './problems-of.ts';

const DATABASES = 'databases: {app: {}}\n';

function parse(text: string): Config {
  return parseYamlConfig(text, '/etc/pooler/pooler.yaml');
}

/** The problems of `text`, without the file's name. */
function problems(text: string): string[] {
  return problemsOf(() => parseYamlConfig(text, 'p.yaml')).map((problem) => problem.replace(/^p\.yaml:/, ''));
}

function database(written: string): DatabaseConfig {
  return parse(`databases:\n  app: ${written}\n`).databases.get('app')!;
}

describe('a YAML configuration', () => {
  it('is read into a value', () => {
    const config = parse(`
pgbouncer:
  listen_addr: 0.0.0.0, ::1
  listen_port: 0
  pool_mode: transaction
  query_wait_timeout: 500ms
  max_packet_size: 16MB
  log_stats: off
  auth_file: users.txt
  server_check_query: ''
databases:
  app: {host: [a, b], port: 5433, reserve_pool: 2, connect_query: select 1}
  other: host=c pool_mode=statement user=u password='x y' server_lifetime=0
  third: postgres://u:p%40@d/real?pool_size=3&budget=shared
  empty:
  '*': {host: e}
users:
  alice: {pool_mode: session, query_timeout: 1.5}
  bob:
`);
    expect(config.path).toBe('/etc/pooler/pooler.yaml');
    expect(config.settings).toMatchObject({
      listenAddr: ['0.0.0.0', '::1'],
      listenPort: 0,
      poolMode: 'transaction',
      queryWaitTimeoutMs: 500,
      maxPacketSizeBytes: 16_777_216,
      logStats: false,
      authFile: '/etc/pooler/users.txt',
      serverCheckQuery: '',
      defaultPoolSize: 20,
    });
    expect([...config.databases.keys()]).toEqual(['app', 'other', 'third', 'empty']);
    expect(config.databases.get('app')).toEqual({
      name: 'app',
      hosts: ['a', 'b'],
      port: 5433,
      dbname: null,
      user: null,
      password: null,
      passwordCommand: null,
      serverRequireAuth: null,
      authUser: null,
      authQuery: null,
      authDbname: null,
      poolMode: null,
      poolSize: null,
      minPoolSize: null,
      reservePoolSize: 2,
      maxDbConnections: null,
      maxDbClientConnections: null,
      maxServerConnections: null,
      budget: null,
      connectQuery: 'select 1',
      clientEncoding: null,
      datestyle: null,
      timezone: null,
      applicationName: null,
      queryWaitTimeoutMs: null,
      serverLifetimeMs: null,
      loadBalanceHosts: null,
    });
    expect(config.databases.get('other')).toMatchObject({
      hosts: ['c'],
      poolMode: 'statement',
      user: 'u',
      password: 'x y',
      serverLifetimeMs: 0,
    });
    expect(config.databases.get('third')).toMatchObject({
      hosts: ['d'],
      user: 'u',
      password: 'p@',
      dbname: 'real',
      poolSize: 3,
      budget: 'shared',
    });
    expect(config.databases.get('empty')).toMatchObject({ hosts: ['127.0.0.1'], port: 5432, dbname: null });
    expect(config.fallbackDatabase).toMatchObject({ name: '*', hosts: ['e'] });
    expect(config.users.get('alice')).toEqual({
      name: 'alice',
      password: null,
      passwordCommand: null,
      poolMode: 'session',
      poolSize: null,
      reservePoolSize: null,
      maxUserConnections: null,
      maxUserClientConnections: null,
      queryTimeoutMs: 1500,
      queryWaitTimeoutMs: null,
      idleTransactionTimeoutMs: null,
      transactionTimeoutMs: null,
      clientIdleTimeoutMs: null,
    });
    expect(config.users.get('bob')).toMatchObject({ name: 'bob', poolMode: null });
  });

  it('has no fallback unless it is given, and may have nothing else', () => {
    expect(parse(DATABASES).fallbackDatabase).toBeNull();
    expect(parse('databases: {"*": }').databases.size).toBe(0);
  });

  it('is frozen to its depth', () => {
    const config = parse('databases: {app: {host: [a]}, "*": }\nusers: {u: }\n');
    const parts = [
      config,
      config.settings,
      config.settings.listenAddr,
      config.databases,
      config.databases.get('app'),
      config.databases.get('app')!.hosts,
      config.fallbackDatabase,
      config.users,
      config.users.get('u'),
    ];
    expect(parts.map((part) => Object.isFrozen(part))).toEqual(parts.map(() => true));
    expect('set' in config.databases).toBe(false);
  });

  it('keeps unquoted passwords as they are written', () => {
    expect(database('{password: 00123}').password).toBe('00123');
    expect(database('{password: 1e5}').password).toBe('1e5');
    expect(database('{password: true}').password).toBe('true');
    expect(database('{password: "null"}').password).toBe('null');
    expect(database('{password: null}').password).toBeNull();
  });

  it('takes names that an object would stumble over', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '0', 'null', '~', 'a.b', '1e3'];
    const lines = names.map((name) => `  ${name}: {}\n`).join('');
    const config = parse(`databases:\n${lines}users:\n${lines}`);
    expect([...config.databases.keys()]).toEqual(names);
    expect([...config.users.keys()]).toEqual(names);
    expect(config.databases.get('__proto__')).toMatchObject({ name: '__proto__', port: 5432 });
    expect(config.databases.get('valueOf')).toBeUndefined();
    expect(Object.getPrototypeOf(config.users.get('__proto__'))).toBe(Object.prototype);
  });

  it('can use anchors', () => {
    const config = parse('databases: {a: &x {host: h}, b: *x, c: {password: &p secret}, d: {password: *p}}');
    expect(config.databases.get('b')).toMatchObject({ name: 'b', hosts: ['h'] });
    expect(config.databases.get('d')!.password).toBe('secret');
  });

  it('is YAML 1.2, whatever it says it is', () => {
    expect(
      parse('%YAML 1.1\n---\ndatabases: {no: {}, 010: {}}\npgbouncer: {default_pool_size: 010}').settings
        .defaultPoolSize,
    ).toBe(10);
  });
});

describe('problems', () => {
  it('are all reported at once, in order, with their positions', () => {
    const text = `\
users:
  alice: {pool_size: few}
pgbouncer:
  pool_mod: session
  pool_mode: sesion
  auth_ldap_options: x
  log_stats: perhaps
databases:
  app: {host: '@tmp', hots: a}
  pgbouncer: host=a
  x: 5
pools: {}
`;
    expect(problems(text)).toEqual([
      '2:22: bad value for "pool_size": expected a whole number from 0, found "few"',
      '4:3: unknown setting "pool_mod" (did you mean "pool_mode"?)',
      '5:14: bad value for "pool_mode": expected one of session, transaction, statement, found "sesion"',
      '6:3: PgBouncer\'s setting "auth_ldap_options" is not supported yet',
      '7:14: bad value for "log_stats": expected true or false, found "perhaps"',
      '9:15: bad value for "host": abstract Unix sockets (names that begin with @) cannot be reached from Node as libpq reaches them',
      '9:23: unknown setting "hots" (did you mean "host"?)',
      '10:3: the database name "pgbouncer" is reserved',
      '11:6: expected a mapping or a connection string, found 5',
      '12:1: unknown section "pools"',
    ]);
  });

  it('are lines of the error’s message', () => {
    expect(() => parseYamlConfig('databases: {a: 1}\nusers: 1', 'p.yaml')).toThrowError(
      /^p\.yaml:1:16: expected a mapping or a connection string, found 1\np\.yaml:2:8: expected a mapping with the names of users, found a number$/,
    );
  });

  it.each([
    ['constructor: 1', '2:13: unknown setting "constructor"'],
    ['__proto__: 1', '2:13: unknown setting "__proto__"'],
    [
      'pool_size: 1',
      '2:13: "pool_size" is not a setting of the section "pgbouncer", but of a database, a user, and a peer',
    ],
    ['peer_id: 16384', '2:22: bad value for "peer_id": expected a whole number from 0 to 16383, found 16384'],
    [
      'auth_type: ldap',
      '2:24: bad value for "auth_type": PgBouncer\'s "ldap" is not supported yet (supported: any, trust, plain, md5, scram-sha-256, cert, hba)',
    ],
    ['pool_mode: ', '2:24: bad value for "pool_mode": expected one of session, transaction, statement, found nothing'],
    [
      'pool_mode: [session]',
      '2:24: bad value for "pool_mode": expected one of session, transaction, statement, found a list',
    ],
    [
      'max_packet_size: 2147483648',
      '2:30: bad value for "max_packet_size": expected bytes or a number with B, kB, MB or GB (64kB, 1MB), from 1024 to 2147483647 bytes, found 2147483648',
    ],
    ['"a\\nb": 1', '2:13: unknown setting "a\\nb"'],
    ['<<: {pool_mode: session}', '2:13: YAML merge keys ("<<") are not supported'],
    ['reserve_pool: 1', '2:13: unknown setting "reserve_pool"'],
  ])('of a setting: %s', (line, problem) => {
    expect(problems(`${DATABASES}pgbouncer: {${line}}`)).toEqual([problem]);
  });

  it.each([
    ['{sslmode: require}', '2:9: libpq\'s parameter "sslmode" is not supported here yet'],
    ['postgres://h?sslmode=require', '2:8: libpq\'s parameter "sslmode" is not supported here yet'],
    ['{auth_query: SELECT 1}', '2:21: bad value for "auth_query": expected a text with $1, found "SELECT 1"'],
    ['{auth_dbname: other}', '2:22: auth_dbname "other" is not one of the databases'],
    ['{listen_port: 1}', '2:9: "listen_port" is not a setting of a database, but of the section "pgbouncer"'],
    ['{reserve_pool: 1, reserve_pool_size: 1}', '2:26: "reserve_pool_size" is given twice'],
    ['host=a host=b', '2:8: "host" is given twice'],
    ['port=0', '2:8: bad value for "port": expected a whole number from 1 to 65535, found "0"'],
    ['mysql://h', '2:8: bad connection string: expected a URL that starts with postgres://'],
    ['[a]', '2:8: expected a mapping or a connection string, found a list'],
    ['true', '2:8: expected a mapping or a connection string, found true'],
    [`{dbname: ${'é'.repeat(32)}}`, '2:17: bad value for "dbname": expected at most 63 bytes, found 64'],
    [`{user: ${'u'.repeat(128)}}`, '2:15: bad value for "user": expected at most 127 bytes, found 128'],
    ['{password: "hunter2\\0"}', '2:19: bad value for "password": a NUL character is not allowed'],
    ['{password: {hunter2: 1}}', '2:19: bad value for "password": expected text, found a mapping'],
    ['postgres://h/db%00', '2:8: bad value for "dbname": a NUL character is not allowed'],
    [
      '{host: db:5433}',
      '2:15: bad value for "host": expected a host name or an address, found "db:5433" (the port is a setting of its own)',
    ],
  ])('of a database: %s', (written, problem) => {
    expect(problems(`databases:\n  app: ${written}`)).toEqual([problem]);
  });

  it.each([
    ['{password: }', null],
    ['{password: hunter2}', null],
    ['{password: [hunter2, md5hunter2]}', null],
    ['{password: [hunter2, [hunter2]]}', 'expected text, found a list'],
    ['{password: [hunter2, ""]}', 'an empty password is no password'],
    ['{password: []}', 'expected at least one password'],
    ['{password: "hunter2\\0"}', 'a NUL character is not allowed'],
    [`{password: ${'hunter2'.repeat(10_000)}}`, 'expected at most 65530 bytes, found 70000'],
    [
      '{password: ["SCRAM-SHA-256$4096:aaaa$x:y", "SCRAM-SHA-256$4096:bbbb$x:y"]}',
      'of several SCRAM secrets with different salts only one can be checked; give the passwords instead',
    ],
    ['{password: ["SCRAM-SHA-256$4096:aaaa$x:y", hunter2, "SCRAM-SHA-256$4096:aaaa$z:y"]}', null],
  ])('of the passwords of a user, nothing of which is shown (%#)', (written, problem) => {
    const text = `databases: {app: }\nusers: {alice: ${written}}`;
    if (problem === null) expect(() => parseYamlConfig(text, 'x.yaml')).not.toThrow();
    else expect(problems(text)).toEqual([`2:27: bad value for "password": ${problem}`]);
  });

  it.each([
    ['server_require_auth: [password, oauth]', 'expected some of none, password, md5, scram-sha-256, found "oauth"'],
    ['server_require_auth: "!md5, password"', 'what is refused and what is required is mixed'],
    ['password_command: []', 'expected a program'],
    ['password_command: [x, {}]', 'expected a program and its arguments, found a list'],
  ])('of how servers are logged in to: %s', (written, problem) => {
    const name = written.split(':')[0]!;
    const [message] = problems(`databases:\n  app:\n    ${written}`);
    expect(message).toContain(`bad value for "${name}": ${problem}`);
  });

  it('of a password and a command for one', () => {
    expect(problems('databases: {app: {password: hunter2, password_command: x y}}')).toEqual([
      '1:56: password and password_command are both given',
    ]);
  });

  it('of names', () => {
    const long = 'n'.repeat(200);
    const shown = `"${'n'.repeat(60)}…"`;
    expect(problems(`databases: {${long}: , "": , "a\\0": }`)).toEqual([
      `1:13: bad database name ${shown}: expected at most 63 bytes, found 200`,
      '1:217: bad database name "": it is empty',
      '1:223: bad database name "a\\u0000": a NUL character is not allowed',
    ]);
    expect(problems(`${DATABASES}users: {${long}: , "": }`)).toEqual([
      `2:9: bad user name ${shown}: expected at most 127 bytes, found 200`,
      '2:213: bad user name "": it is empty',
    ]);
  });

  it.each([
    ['', '1:1: no databases: "databases" needs at least one entry'],
    ['# nothing\n', '1:1: no databases: "databases" needs at least one entry'],
    ['users: {}\ndatabases: {}', '2:1: no databases: "databases" needs at least one entry'],
    ['databases:', '1:1: no databases: "databases" needs at least one entry'],
    [`${DATABASES}pgbouncer: [a]`, '2:12: expected a mapping with settings, found a list'],
    [`${DATABASES}users: text`, '2:8: expected a mapping with the names of users, found text'],
    [`${DATABASES}users: {a: [b]}`, '2:12: expected a mapping with settings of the user, found a list'],
    [`${DATABASES}peers: {x: {host: a}}`, '2:9: bad peer_id "x": expected a whole number from 1 to 65535'],
    [`${DATABASES}peers: {70000: {host: a}}`, '2:9: bad peer_id "70000": expected a whole number from 1 to 65535'],
    [`${DATABASES}peers: {1: {host: a}, 01: {host: b}}`, '2:23: the peer 1 is given twice'],
    [`${DATABASES}peers: {1: {port: 1}}`, '2:9: the peer "1" needs a host'],
    [`${DATABASES}pool_mode: session`, '2:1: "pool_mode" belongs into the section "pgbouncer"'],
    [`${DATABASES}pgbounce: {}`, '2:1: unknown section "pgbounce" (did you mean "pgbouncer"?)'],
  ])('of sections: %j', (text, problem) => expect(problems(text)).toEqual([problem]));

  it('of a root that is no mapping', () => {
    expect(problems('- a')).toEqual([
      '1:1: expected a mapping with the sections pgbouncer, databases, users and peers, found a list',
      '1:1: no databases: "databases" needs at least one entry',
    ]);
  });

  it.each([
    ['databases:\n  app: {}\n  app: {}', '3:3: duplicate key "app", first given in line 2'],
    ['pgbouncer: {pool_mode: session, pool_mode: session}', '1:33: duplicate key "pool_mode", first given in line 1'],
    ['a: {}\n---\nb: {}', '2:1: a second YAML document; a configuration is one'],
    ['databases: {a: *x}', '1:16: alias without an anchor before it (a value that starts with "*" must be quoted)'],
    ['databases: &x {a: *x}', '1:19: alias without an anchor before it (a value that starts with "*" must be quoted)'],
    ['databases: {[a]: b}', '1:13: YAML: With stringKeys, all keys must be strings'],
    ['databases:\n\tapp: {}', '2:1: YAML: Tabs are not allowed as indentation'],
    ['a: "b', '1:6: YAML: Missing closing "quote'],
    ['a: !hunter2 x', '1:4: YAML tags are not supported (a value that starts with "!" must be quoted)'],
    ['a: !!binary aGk=', '1:4: YAML tags are not supported (a value that starts with "!" must be quoted)'],
    ['%hunter2\n---\na: b', '1:1: bad YAML directive (a value that starts with "%" must be quoted)'],
    ['a: "\\hunter2"', '1:5: invalid escape sequence in a double-quoted text'],
  ])('of the YAML: %j', (text, problem) => expect(problems(text)).toEqual([problem]));

  it('of PgBouncer’s own format', () => {
    const ini = '; comment\n[databases]\napp = host=a\n[pgbouncer]\n';
    expect(problemsOf(() => parseYamlConfig(ini, 'p.ini'))).toEqual([
      "p.ini: this is PgBouncer's .ini format; give it a name that ends in .ini",
    ]);
  });

  it('behind an alias are reported once, where they stand', () => {
    expect(problems('databases: {a: &x {prt: 1}, b: *x, c: *x}')).toEqual([
      '1:20: unknown setting "prt" (did you mean "port"?)',
    ]);
  });

  it('end after a thousand', () => {
    const found = problems(`databases:\n${'  a: 1\n'.repeat(3000)}`);
    expect(found).toHaveLength(1001);
    expect(found.at(-1)).toMatch(/too many problems; the rest was not read$/);
  });

  it('show no part of a password', () => {
    const texts = [
      '{password: "x" HUNTER}',
      '{password: !HUNTER}',
      '{password: *HUNTER}',
      '{password: &HUNTER HUNTER ]',
      '{password: @HUNTER}',
      '{password: |HUNTER\n}',
      '{password: [HUNTER]}',
      '{password: "\\HUNTER"}',
      '|HUNTER\n  x',
      'x\n] HUNTER',
      'x\n}HUNTER: y',
      'host=a password=x HUNTER',
      "password='HUNTER",
      'postgres://u:HUN/HUNTER@h',
      'postgres://u:HUNTER',
      'postgres://u:%HUNTER@h',
    ];
    for (const text of texts) expect(problems(`databases:\n  app: ${text}\n`).join('\n')).not.toContain('HUNTER');
  });
});

describe('values that contradict each other', () => {
  it.each([
    ['min_pool_size: 30', '2:28: min_pool_size (30) is more than default_pool_size (20)'],
    ['min_pool_size: 5, max_db_connections: 4', '2:28: min_pool_size (5) is more than max_db_connections (4)'],
    ['min_pool_size: 5, max_user_connections: 4', '2:28: min_pool_size (5) is more than max_user_connections (4)'],
    ['min_pool_size: 5, max_server_connections: 4', '2:28: min_pool_size (5) is more than max_server_connections (4)'],
    ['listen_port: 7000, http_port: 7000', '2:43: http_port and listen_port are both 7000'],
    ['listen_addr: "::1", http_listen_addr: "*", http_port: 6432', '2:67: http_port and listen_port are both 6432'],
    ['listen_addr: "*", http_port: 6432', '2:42: http_port and listen_port are both 6432'],
  ])('are refused: %s', (written, problem) => {
    expect(problems(`${DATABASES}pgbouncer: {${written}}`)).toEqual([problem]);
  });

  it.each([
    'min_pool_size: 30, default_pool_size: 0',
    'min_pool_size: 20',
    'listen_addr: "::1", http_port: 6432',
    'listen_port: 0, http_port: 0',
  ])('are not: %s', (written) => expect(parse(`${DATABASES}pgbouncer: {${written}}`)).toBeDefined());

  it('are refused in a database', () => {
    const text = `\
pgbouncer: {min_pool_size: 3, max_db_connections: 50, max_server_connections: 60}
databases:
  a: {min_pool_size: 21}
  b: {min_pool_size: 2, pool_size: 1}
  c: {min_pool_size: 51, pool_size: 0}
  d: {min_pool_size: 11, max_db_connections: 10}
  e: {min_pool_size: 11, max_server_connections: 10, host: e}
  f: {min_pool_size: 12, host: e}
  small: {pool_size: 2}
  unlimited: {min_pool_size: 55, pool_size: 0, max_db_connections: 0}
`;
    expect(problems(text)).toEqual([
      '3:22: min_pool_size (21) is more than default_pool_size (20)',
      '4:22: min_pool_size (2) is more than pool_size (1)',
      '5:22: min_pool_size (51) is more than max_db_connections (50)',
      '6:22: min_pool_size (11) is more than max_db_connections (10)',
      '7:22: min_pool_size (11) is more than max_server_connections (10)',
      '8:22: min_pool_size (12) is more than max_server_connections (10)',
    ]);
  });

  it('are not guessed from a default that stands in for a wrong value', () => {
    const text = `${DATABASES}pgbouncer: {min_pool_size: 30, default_pool_size: forty}`;
    expect(problems(text)).toEqual([
      '2:51: bad value for "default_pool_size": expected a whole number from 0, found "forty"',
    ]);
    const inDatabase = 'databases: {a: {min_pool_size: 30, pool_size: forty}}';
    expect(problems(inDatabase)).toEqual([
      '1:47: bad value for "pool_size": expected a whole number from 0, found "forty"',
    ]);
    const inherited = 'databases: {a: {min_pool_size: 30}}\npgbouncer: {default_pool_size: forty}';
    expect(problems(inherited)).toHaveLength(1);
    const port = `${DATABASES}pgbouncer: {http_port: 6432, listen_port: x}`;
    expect(problems(port)).toHaveLength(1);
  });

  it('are refused where databases share one PostgreSQL', () => {
    const text = `\
databases:
  a: {host: h, max_server_connections: 10}
  b: {host: h, max_server_connections: 20}
  c: {host: h, port: 5433, max_server_connections: 30}
  d: {host: h}
  e: {host: x, budget: shared, max_server_connections: 1}
  "*": {host: y, budget: shared, max_server_connections: 2}
  f: {host: h, max_server_connections: 10}
`;
    expect(problems(text)).toEqual([
      '3:40: databases "a" and "b" share the PostgreSQL "h:5432" but set max_server_connections to 10 and 20',
      '7:58: databases "e" and "*" share the PostgreSQL "shared" but set max_server_connections to 1 and 2',
    ]);
  });
});
