/** A `pgbouncer.ini` as PgBouncer reads it. What is doubtful was tried with Debian's PgBouncer 1.18. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { canReusePort } from '../../../src/config/check-config.ts';
import type { Config, DatabaseConfig } from '../../../src/config/config.ts';
import { formatProblem } from '../../../src/config/config-error.ts';
import { loadConfig, parseIniConfig } from '../../../src/config/load-config.ts';
import type { Settings } from '../../../src/config/settings.ts';
import { problemsOf } from './problems-of.ts';

const HEAD = '[databases]\napp = host=a\n[pgbouncer]\nlisten_addr = 127.0.0.1\n';
const folder = mkdtempSync(join(tmpdir(), 'ini-'));
afterAll(() => rmSync(folder, { recursive: true }));

function parse(text: string, files: Readonly<Record<string, string>> = {}): Config {
  const readFile = (name: string): string => {
    const found = files[name];
    if (found === undefined) throw new Error(`${name}: cannot be read: no such file`);
    return found;
  };
  return parseIniConfig(text, 'p.ini', { readFile });
}

/** With these lines in its main section. */
function settings(lines: string): Settings {
  return parse(HEAD + lines).settings;
}

/** What is wrong with these lines in the main section; they begin in line 5. */
function problems(lines: string, files?: Readonly<Record<string, string>>): string[] {
  return problemsOf(() => parse(HEAD + lines, files)).map((problem) => problem.replace(/^p\.ini:/, ''));
}

function database(connection: string): DatabaseConfig {
  return parse(`${HEAD}[databases]\nb = ${connection}`).databases.get('b')!;
}

function warnings(lines: string): string[] {
  return parse(HEAD + lines).warnings.map(formatProblem);
}

describe('a pgbouncer.ini', () => {
  it('has PgBouncer’s defaults', () => {
    expect(settings('')).toMatchObject({
      listenBacklog: 128,
      logFormat: 'text',
      maxPacketSizeBytes: 2_147_483_647,
      serverDirtyPolicy: 'keep',
      shutdownTimeoutMs: 0,
      poolMode: 'session',
      authType: 'md5',
    });
  });

  it('has comments, indented lines and values as they are', () => {
    const lines = [
      '; a comment',
      '  # another',
      '',
      '   pool_mode=Transaction   ',
      '\tserver_reset_query = select 1; -- # not a comment',
      'default_pool_size\t=\t5\r',
    ];
    expect(settings(lines.join('\n'))).toMatchObject({
      poolMode: 'transaction',
      serverResetQuery: 'select 1; -- # not a comment',
      defaultPoolSize: 5,
    });
  });

  it('may go on behind the name of a section', () => {
    const config = parse('[databases] app = host=x\n[pgbouncer] ; comment\n[users] [pgbouncer] listen_addr = b');
    expect(config.databases.get('app')?.hosts).toEqual(['x']);
    expect(config.settings.listenAddr).toEqual(['b']);
  });

  it.each([
    ['default_pool_size = 0x10', { defaultPoolSize: 16 }],
    ['default_pool_size = 010', { defaultPoolSize: 8 }],
    ['default_pool_size = +5', { defaultPoolSize: 5 }],
    ['query_timeout = 1e3', { queryTimeoutMs: 1_000_000 }],
    ['query_timeout = .5', { queryTimeoutMs: 500 }],
    ['query_timeout = 1.5', { queryTimeoutMs: 1500 }],
    ['log_connections = 0', { logConnections: false }],
    ['log_connections = 2', { logConnections: true }],
    ['log_connections = -1', { logConnections: true }],
    ['max_packet_size = 2147483647', { maxPacketSizeBytes: 2_147_483_647 }],
    ['server_reset_query =', { serverResetQuery: '' }],
    ["server_reset_query = 'DISCARD ALL'", { serverResetQuery: "'DISCARD ALL'" }],
    ['resolv_conf =', { resolvConf: null }],
    ['ignore_startup_parameters = a ,b, c', { ignoreStartupParameters: ['a', 'b', 'c'] }],
  ])('reads %s', (line, expected) => expect(settings(line)).toMatchObject(expected));

  it('takes paths from the current folder', () => {
    expect(settings('auth_file = users.txt').authFile).toBe(resolve('users.txt'));
  });

  it('lets the later of two entries count, and the main section start afresh', () => {
    const config = parse(
      `${HEAD}pool_mode=transaction\npool_mode=statement\n[databases]\napp=host=b\n[users]\nx=pool_size=1\nx=\n`,
    );
    expect(config.settings.poolMode).toBe('statement');
    expect(config.databases.get('app')?.hosts).toEqual(['b']);
    expect(config.users.get('x')?.poolSize).toBeNull();
    const again = parse(`${HEAD}pool_mode=transaction\n[pgbouncer]\nlisten_addr=b\ndefault_pool_size=3\n`);
    expect(again.settings).toMatchObject({ poolMode: 'session', listenAddr: ['b'], defaultPoolSize: 3 });
    expect(again.warnings.map(formatProblem)).toEqual([
      'p.ini:6:1: [pgbouncer] begins again: as in PgBouncer, what p.ini:3 and below set is forgotten',
    ]);
  });

  it('needs the section [pgbouncer] and no databases', () => {
    expect(parse('[pgbouncer]\nlisten_addr=*').databases.size).toBe(0);
    for (const text of ['', '\n\n', '; nothing', '[databases]\napp=host=a']) {
      expect(problemsOf(() => parse(text))).toEqual(['p.ini:1:1: the section [pgbouncer] is missing']);
    }
  });

  it('uses Unix sockets where no address is given', () => {
    const config = parse('[pgbouncer]\n[databases]\na =\nb = port=7\nc = host=/run/x\n');
    expect(config.settings).toMatchObject({ listenAddr: [], unixSocketDir: '/tmp' });
    expect([...config.databases.values()].map(({ hosts }) => hosts)).toEqual([['/tmp'], ['/tmp'], ['/run/x']]);
    const elsewhere = parse('[databases]\na =\n[pgbouncer]\nunix_socket_dir = /run/y\nlisten_addr =');
    expect(elsewhere.databases.get('a')?.hosts).toEqual(['/run/y']);
    expect(problemsOf(() => parse('[pgbouncer]\nunix_socket_dir =\n[databases]\na = port=7\n'))).toEqual([
      'p.ini:1:1: there is nothing to listen on: neither listen_addr nor unix_socket_dir is set',
      'p.ini:4:5: database "a" has no host, and there is no unix_socket_dir to find a socket in',
    ]);
  });

  it('lets the size of a pool cap its minimum', () => {
    expect(settings('min_pool_size = 50\ndefault_pool_size = 3')).toMatchObject({ minPoolSize: 50 });
  });

  it('has users and peers', () => {
    const config = parse(
      `${HEAD}[users]\nbob = pool_mode=transaction query_timeout=-1\n[peers]\n1 = host=x\n2=host=y port=7`,
    );
    expect(config.users.get('bob')).toMatchObject({ poolMode: 'transaction', queryTimeoutMs: null });
    expect([...config.peers.values()]).toEqual([
      { id: 1, host: 'x', port: 6432, poolSize: null },
      { id: 2, host: 'y', port: 7, poolSize: null },
    ]);
  });

  it('has names of databases in double quotes, and the fallback', () => {
    const config = parse(`${HEAD}[databases]\n"my ""db""" = host=x\nmy-db.x_*=host=y\n* = host=z`);
    expect([...config.databases.keys()]).toEqual(['app', 'my "db"', 'my-db.x_*']);
    expect(config.fallbackDatabase?.hosts).toEqual(['z']);
  });
});

describe('a connection string in a pgbouncer.ini', () => {
  it.each([
    ["host=x dbname='x y' port = 3", { hosts: ['x'], dbname: 'x y', port: 3 }],
    ["  host  =  x  dbname='it''s'", { dbname: "it's" }],
    [String.raw`host=x dbname='a\b' user=c\d`, { dbname: String.raw`a\b`, user: String.raw`c\d` }],
    ["host=x dbname=a'b", { dbname: "a'b" }],
    ['host=x dbname=a;b=1', { dbname: 'a;b=1' }],
    ['host=a,b,c', { hosts: ['a', 'b', 'c'] }],
    ['host=x dbname=a dbname=b', { dbname: 'b' }],
    ['host=x pool_size=010 reserve_pool=3', { poolSize: 10, reservePoolSize: 3 }],
    ['host=x pool_size=-1 query_wait_timeout=-1', { poolSize: null, queryWaitTimeoutMs: null }],
    ["host=x connect_query='select 1'", { connectQuery: 'select 1' }],
  ])('%s', (text, expected) => expect(database(text)).toMatchObject(expected));

  it.each([
    ['host=', 'bad connection string: expected a value at character 6'],
    ["host=x dbname=''", 'bad connection string: expected a value at character 15'],
    ["host=x dbname='x", 'bad connection string: the quote at character 15 is never closed'],
    [
      'host=x # y',
      'bad connection string: expected key=value at character 8 (a value with spaces needs single quotes)',
    ],
    ['host=x HOST=y', 'unknown setting "HOST" (did you mean "host"?)'],
    ['host=x port=0', 'bad value for "port": expected a whole number from 1 to 65535, found 0'],
    ['host=x pool_mode=x', 'bad value for "pool_mode": expected one of session, transaction, statement, found "x"'],
  ])('is refused: %s', (text, problem) => {
    expect(problems(`[databases]\nb=${text}`)).toEqual([`6:3: ${problem}`]);
  });
});

describe('a wrong pgbouncer.ini', () => {
  const SYNTAX =
    'expected name = value, a [section], a comment or %include (names with other characters than A-Z a-z 0-9 _ . - * need double quotes)';

  it.each([
    ['pool_mod = x', '5:1: unknown setting "pool_mod" (did you mean "pool_mode"?)'],
    ['POOL_MODE = session', '5:1: unknown setting "POOL_MODE" (did you mean "pool_mode"?)'],
    ['  pool_mode = x', '5:15: bad value for "pool_mode": expected one of session, transaction, statement, found "x"'],
    ['default_pool_size =', '5:20: bad value for "default_pool_size": expected a whole number from 0, found ""'],
    ['foo', `5:1: ${SYNTAX}`],
    ['=1', `5:1: ${SYNTAX}`],
    ['my db = x', `5:1: ${SYNTAX}`],
    ['é = x', `5:1: ${SYNTAX}`],
    ['"abc = 1', `5:1: ${SYNTAX}`],
    ['pool_mode transaction', `5:1: ${SYNTAX}`],
    ['%include', `5:1: ${SYNTAX}`],
    ['%includex a', `5:1: ${SYNTAX}`],
    ['[pgbouncer', '5:1: the "[" of a section is never closed'],
    ['[databses]\na=b', '5:1: unknown section "databses" (did you mean "databases"?)'],
    ['[PGBOUNCER]', '5:1: unknown section "PGBOUNCER" (did you mean "pgbouncer"?)'],
    ['[]', '5:1: unknown section ""'],
    ['[databases]\npgbouncer=host=a', '6:1: the database name "pgbouncer" is reserved'],
  ])('%j', (lines, problem) => expect(problems(lines)).toEqual([problem]));

  it('is told all its problems, in the order of the files', () => {
    expect(problemsOf(() => parse(`x=1\n${HEAD}foo\n%include a\nport=1`, { a: 'y=1\nz=1' }))).toEqual([
      'p.ini:1:1: "x" stands before the first [section]',
      `p.ini:6:1: ${SYNTAX}`,
      'p.ini:8:1: "port" is not a setting of the section "pgbouncer", but of a database and a peer',
      'a:1:1: unknown setting "y"',
      'a:2:1: unknown setting "z"',
    ]);
  });

  it('never shows a line that may hold a password', () => {
    const secret = 'hunter2';
    for (const line of [
      `password ${secret}`,
      `[databases]\nb=host=x password='${secret}`,
      `[databases]\nb=${secret}`,
    ]) {
      expect(problems(line).join('\n')).not.toContain(secret);
    }
  });

  it('is refused with a place for a NUL and for bytes that are not UTF-8', () => {
    const nul = join(folder, 'nul.ini');
    writeFileSync(nul, `${HEAD}a\0b`);
    expect(problemsOf(() => loadConfig(nul))).toEqual([`${nul}:5:2: a NUL character; this is not a text`]);
    const latin = join(folder, 'latin.ini');
    writeFileSync(latin, Buffer.from(`${HEAD}# caf\xe9`, 'latin1'));
    expect(problemsOf(() => loadConfig(latin))).toEqual([`${latin}:5:1: not valid UTF-8`]);
  });
});

describe('%include', () => {
  it('goes on in the section, and may change it', () => {
    const files = { 'a b.ini': 'pool_mode = statement\n[databases]\nb = host=x' };
    const config = parse(`${HEAD}  %include a b.ini  \nc = host=y`, files);
    expect(config.settings.poolMode).toBe('statement');
    expect([...config.databases.keys()]).toEqual(['app', 'b', 'c']);
  });

  it('reads real files from the current folder, also those that files in other folders include', () => {
    mkdirSync(join(folder, 'sub'));
    writeFileSync(join(folder, 'main.ini'), `${HEAD}%include ${folder}/sub/a.ini\n`);
    writeFileSync(join(folder, 'sub', 'a.ini'), `pool_mode=statement\n%include ${folder}/b.ini`);
    writeFileSync(join(folder, 'b.ini'), '\ufeffdefault_pool_size=3');
    expect(loadConfig(join(folder, 'main.ini')).settings).toMatchObject({ poolMode: 'statement', defaultPoolSize: 3 });
    writeFileSync(join(folder, 'sub', 'a.ini'), '%include b.ini');
    expect(problemsOf(() => loadConfig(join(folder, 'main.ini')))).toEqual([
      `${folder}/sub/a.ini:1:1: b.ini: cannot be read: no such file`,
    ]);
  });

  it('is refused in a circle, too deep, too often, too large', () => {
    expect(problems('%include p.ini')).toEqual(['5:1: %include: "p.ini" would include itself']);
    expect(problems('%include a', { a: '%include b', b: '%include a' })).toEqual([
      'b:1:1: %include: "a" would include itself',
    ]);
    const chain = Object.fromEntries(Array.from({ length: 11 }, (_, at) => [`f${at}`, `%include f${at + 1}`]));
    expect(problems('%include f0', chain)).toEqual(['f9:1:1: %include: more than 10 files deep']);
    expect(parse(`${HEAD}%include f0`, { ...chain, f9: 'pool_mode=statement' }).settings.poolMode).toBe('statement');
    const doubling = Object.fromEntries(
      Array.from({ length: 10 }, (_, at) => [`f${at}`, `%include f${at + 1}\n`.repeat(10)]),
    );
    expect(problems('%include f0', { ...doubling, f9: '' })[0]).toMatch(/more than 1000 times$/);
    const large = { a: '#'.repeat(600_000) };
    expect(problems('%include a\n%include a\n%include a', large)).toEqual([
      '7:1: %include: more than 1048576 characters in all files',
    ]);
  });

  it('says what is missing where it is included', () => {
    expect(problems('%include "a.ini"')).toEqual(['5:1: "a.ini": cannot be read: no such file']);
  });
});

describe('the format of a file', () => {
  it.each([
    ['x.ini', '[pgbouncer]', 'ini'],
    ['x.conf', ' ; comment\n\n  [pgbouncer]\n', 'ini'],
    ['x', `%include ${folder}/none\n[pgbouncer]`, 'ini'],
    ['x.yaml', '[pgbouncer]', 'yaml'],
    ['x', 'pgbouncer:', 'yaml'],
    ['x', '', 'yaml'],
    ['x', '# [pgbouncer]\n{}', 'yaml'],
  ])('is told by its name or else by its beginning: %s %j', (name, text, format) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    const isIni = (() => {
      try {
        return loadConfig(path).settings.logFormat === 'text';
      } catch (error) {
        return String(error).includes('none: cannot be read');
      }
    })();
    expect(isIni ? 'ini' : 'yaml').toBe(format);
  });

  it('is told quickly', () => {
    const path = join(folder, 'blank');
    writeFileSync(path, '\n'.repeat(1_000_000));
    const started = performance.now();
    problemsOf(() => loadConfig(path));
    expect(performance.now() - started).toBeLessThan(8000);
  });
});

describe('settings without an effect', () => {
  it('are accepted with one warning that says what happens instead', () => {
    expect(warnings('pkt_buf = 8192\ntcp_user_timeout = 3000\ntcp_defer_accept = 0')).toEqual([
      'p.ini:5:1: "pkt_buf" has no effect: buffers are shared by all connections and fit themselves to what is read',
      expect.stringMatching(/^p\.ini:6:1: "tcp_user_timeout" has no effect: client_write_timeout, /),
      expect.stringMatching(/^p\.ini:7:1: "tcp_defer_accept" has no effect: connections are accepted at once/),
    ]);
  });

  it('are accepted in silence with PgBouncer’s default', () => {
    expect(warnings('pkt_buf = 4096\nsbuf_loopcnt=5\ntcp_defer_accept=1\njob_name=pgbouncer')).toEqual([]);
  });
});

describe('so_reuseport', () => {
  it.each([
    ['20.19.0', false],
    ['22.11.0', false],
    ['22.12.0', true],
    ['23.0.0', false],
    ['23.1.0', true],
    ['24.0.0', true],
  ])('works with Node.js %s: %s', (version, works) => expect(canReusePort(version)).toBe(works));

  it('is refused where it does not work', () => {
    if (canReusePort(process.versions.node)) expect(settings('so_reuseport=1').soReuseport).toBe(true);
    else
      expect(problems('so_reuseport = 1')).toEqual([
        expect.stringMatching(/^5:16: so_reuseport needs Node\.js 22\.12/),
      ]);
  });
});
