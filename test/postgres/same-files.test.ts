/**
 * The same `pgbouncer.ini` given to Debian's PgBouncer 1.18 and to us: who accepts and who refuses it, and what both say
 * in their consoles is in force. Where we differ on purpose, the reason stands in the table.
 */
import { Client } from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { createPooler } from '../../src/pooler.ts';
import { freePort, sharedFile, sharedFolder, startPgBouncer } from '../support/debian-pgbouncer.ts';
import { RecordingLogger } from '../support/recording-logger.ts';
import { itWith } from '../support/system-clients.ts';

const itBeside = itWith('pgbouncer');

interface Case {
  /** Lines of the section `databases`. */
  readonly databases?: string;
  /** Lines of the section `pgbouncer`. */
  readonly settings?: string;
  /** What follows them. */
  readonly rest?: string;
  /** Nobody can come into the console of one of them, so that it is not asked. */
  readonly isMute?: boolean;
}

function iniOf({ databases = '', settings = '', rest = '' }: Case, port: number): string {
  return `; a comment
# another
[databases]
app = host=127.0.0.1 port=5432
${databases}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
admin_users = dave
${settings}
${rest}
`.replaceAll('PORT', String(port));
}

type Verdict = 'accepted' | 'refused';

/** SHOW CONFIG and SHOW DATABASES. */
interface Shown {
  readonly config: Rows;
  readonly databases: Rows;
}

type Rows = readonly Readonly<Record<string, unknown>>[];

interface Answer {
  readonly verdict: Verdict;
  readonly shown: Shown | null;
}

async function ask(port: number): Promise<Shown> {
  const client = new Client({ host: '127.0.0.1', port, user: 'dave', database: 'pgbouncer' });
  await client.connect();
  const config = (await client.query<Record<string, unknown>>('SHOW CONFIG')).rows;
  const databases = (await client.query<Record<string, unknown>>('SHOW DATABASES')).rows;
  await client.end();
  return { config, databases };
}

async function theirs(file: string, port: number, isMute: boolean): Promise<Answer> {
  const started = await startPgBouncer(file).catch(() => null);
  if (started === null) return { verdict: 'refused', shown: null };
  const shown = isMute ? null : await ask(port);
  started.process.kill('SIGKILL');
  await started.end();
  return { verdict: 'accepted', shown };
}

async function ours(file: string, port: number, isMute: boolean): Promise<Answer> {
  const pooler = await createPooler(file, { log: new RecordingLogger() }).catch(() => null);
  if (pooler === null) return { verdict: 'refused', shown: null };
  onTestFinished(() => pooler.close({ timeoutMs: 0 }));
  return { verdict: 'accepted', shown: isMute ? null : await ask(port) };
}

/** One after the other, on the same port. */
async function bothAnswers(given: Case): Promise<{ readonly theirs: Answer; readonly ours: Answer }> {
  const port = await freePort();
  const folder = sharedFolder();
  const text = iniOf(given, port).replaceAll('FOLDER', folder);
  const file = sharedFile(folder, 'pgbouncer.ini', Buffer.from(text, 'latin1'));
  sharedFile(folder, 'included.ini', 'default_pool_size = 33\n');
  const { isMute = false } = given;
  return { theirs: await theirs(file, port, isMute), ours: await ours(file, port, isMute) };
}

/** Defaults that newer versions of PgBouncer have changed, or the same written otherwise: 1.18's, and ours. */
const RENAMED: Readonly<Record<string, readonly [string | null, string | null]>> = {
  client_tls_ciphers: ['fast', 'default'],
  server_tls_ciphers: ['fast', 'default'],
  server_check_query: ['select 1', '<empty>'],
  server_tls_sslmode: ['disable', 'prefer'],
  unix_socket_mode: ['511', '0777'],
  verbose: [null, '0'],
};

/** They are of the command line, or of the machine. */
const OF_THE_PROCESS = new Set<unknown>(['user', 'verbose']);

/** Lists are written with and without space. */
function plain(text: unknown): unknown {
  return typeof text === 'string' ? text.replaceAll(/\s*,\s*/g, ',') : text;
}

/** What both show, in the columns that both have. */
function common(shown: Shown, other: Shown): object {
  const keys = new Set(other.config.map(({ key }) => key));
  const config = shown.config
    .filter(({ key }) => keys.has(key) && !OF_THE_PROCESS.has(key))
    .map(({ key, value, default: standard, changeable }) => {
      const [old, now] = RENAMED[String(key)] ?? [];
      const newer = (text: unknown): unknown => (old !== undefined && text === old ? now : text || null);
      return [key, plain(newer(value)), newer(standard), changeable];
    });
  const databases = shown.databases
    .filter(({ name }) => name !== 'pgbouncer')
    .map(({ reserve_pool, reserve_pool_size, ...row }) => {
      const columns = Object.keys(other.databases[0]!);
      const rest = Object.entries(row).filter(([name]) => columns.includes(name));
      return { ...Object.fromEntries(rest), reserve_pool_size: reserve_pool ?? reserve_pool_size };
    });
  return { config, databases };
}

describe('both accept, and show the same', () => {
  const cases: Readonly<Record<string, Case>> = {
    'a plain file': {},
    'a file with much in it': {
      databases: [
        `x = host=h port=1 dbname=y user=u password='it''s' pool_size=7 min_pool_size=2 reserve_pool=3`,
        `y = host=a,b pool_mode=statement max_db_connections=9 connect_query='set a=''b'''`,
        'z = host=h client_encoding=UTF8 datestyle=ISO timezone=UTC',
        '* = host=h',
      ].join('\n'),
      settings: [
        'pool_mode = transaction',
        'max_client_conn = 200',
        'default_pool_size = 13',
        'min_pool_size = 50',
        'reserve_pool_size = 2',
        'reserve_pool_timeout = 3.5',
        'max_db_connections = 40',
        'max_user_connections = 30',
        'server_lifetime = 1200.5',
        'server_idle_timeout = 0.1',
        'server_round_robin = 1',
        'server_reset_query =',
        'server_check_query = select 2',
        'query_timeout = 12.5',
        'ignore_startup_parameters = extra_float_digits , options',
        'log_connections = 0',
        'application_name_add_host = 1',
        'stats_users = a,b',
        'tcp_keepalive = 1\ntcp_keepidle = 5\ntcp_keepcnt = 3\ntcp_keepintvl = 2\ntcp_user_timeout = 100',
        'pkt_buf = 2048\nsbuf_loopcnt = 0\nlisten_backlog = 64',
        'disable_pqexec = 0\njob_name = x',
      ].join('\n'),
      rest: '[users]\nbob = pool_mode=session max_user_connections=4',
    },
    'space around everything': { settings: '   pool_mode = session\n\t default_pool_size\t=\t5\t' },
    'values in capitals': { settings: 'pool_mode = Transaction' },
    'the line ends of Windows': { settings: 'pool_mode = statement\r\ndefault_pool_size = 5\r' },
    'the last of two keys': { settings: 'pool_mode = session\npool_mode = statement' },
    'the last of two databases': { databases: 'x = host=h\nx = host=g' },
    'the last of two parameters': { databases: 'x = host=h host=g' },
    'space in a connection string': { databases: 'x = host = h' },
    'a section that begins again, and forgets': {
      settings: 'default_pool_size = 5',
      rest: '[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port=PORT\nunix_socket_dir=\nadmin_users=dave\nauth_type=any',
    },
    'another file': { settings: '%include FOLDER/included.ini' },
    'numbers as in C': {
      settings: 'default_pool_size = 0x10\nmin_pool_size = 010\nmax_client_conn = +50\nquery_timeout = 1e1',
    },
    'a pool without a bound': { settings: 'default_pool_size = 0' },
    'ciphers that do not exist, without TLS': { settings: 'client_tls_ciphers = nosuch' },
    'comments that are no UTF-8': { settings: '; caf\u00e9\n  # \u00e9' },
  };
  for (const [name, given] of Object.entries(cases)) {
    itBeside(name, async () => {
      const answers = await bothAnswers(given);
      expect([answers.theirs.verdict, answers.ours.verdict]).toEqual(['accepted', 'accepted']);
      const [old, now] = [answers.theirs.shown!, answers.ours.shown!];
      expect(common(now, old)).toEqual(common(old, now));
    });
  }
});

describe('both refuse', () => {
  const cases: Readonly<Record<string, Case>> = {
    'an unknown setting': { settings: 'pool_mod = session' },
    'a setting in capitals': { settings: 'POOL_MODE = session' },
    'an unknown section': { rest: '[nosuch]\na = b' },
    'a section without an end': { rest: '[users' },
    'a section with space in it': { rest: '[ users ]' },
    'no value for a number': { settings: 'default_pool_size =' },
    'half a number': { settings: 'default_pool_size = 1.5' },
    'a negative time': { settings: 'query_timeout = -5' },
    'an unknown mode': { settings: 'pool_mode = foo' },
    'no equals sign': { settings: 'pool_mode' },
    'a comment behind a value': { settings: 'pool_mode = session ; comment' },
    'a value in quotes': { settings: "pool_mode = 'session'" },
    'an unknown parameter of a database': { databases: 'x = host=h foo=bar' },
    hostaddr: { databases: 'x = hostaddr=1.2.3.4' },
    'quotes that are not closed': { databases: "x = host=h password='a" },
    'a port that is no number': { databases: 'x = host=h port=abc' },
    'an unknown mode of a database': { databases: 'x = host=h pool_mode=foo' },
    'the name of the console': { databases: 'pgbouncer = host=h' },
    'an unknown parameter of a user': { rest: '[users]\nbob = foo=1' },
    'an unknown mode of a user': { rest: '[users]\nbob = pool_mode=x' },
    'a file that is not there': { settings: '%include /nonexistent' },
    'a file that includes itself': { settings: '%include FOLDER/pgbouncer.ini' },
    'an unknown auth_type': { settings: 'auth_type = kerberos' },
    'TLS without a certificate': { settings: 'client_tls_sslmode = require' },
    'an unknown sslmode': { settings: 'server_tls_sslmode = foo' },
    'an address that is none': { settings: 'listen_addr = 999.1.1.1' },
    'a NUL': { settings: 'pool_mode = ses\0sion' },
  };
  for (const [name, given] of Object.entries(cases)) {
    itBeside(name, async () => {
      const answers = await bothAnswers(given);
      expect([answers.theirs.verdict, answers.ours.verdict]).toEqual(['refused', 'refused']);
    });
  }
});

describe('only PgBouncer accepts, on purpose', () => {
  const cases: Readonly<Record<string, Case>> = {
    // It takes another number for them, wraps them, or does nothing with them.
    'a negative size': { settings: 'default_pool_size = -1' },
    'a size that is no number': { databases: 'x = host=h pool_size=abc' },
    'a number that is too large': { settings: 'max_client_conn = 99999999999' },
    'a port that is too large': { databases: 'x = host=h port=99999' },
    'a mode that is not octal': { settings: 'unix_socket_mode = 999' },
    'an unknown facility': { settings: 'syslog_facility = nosuch' },
    'unknown protocols': { settings: 'server_tls_protocols = foo' },
    // It starts, and nobody can come in, or not to that database.
    'no client at all': { settings: 'max_client_conn = 0', isMute: true },
    'an auth_file that is not there': { settings: 'auth_file = /nonexistent' },
    'a database without a host where there are no Unix sockets': { databases: 'x = port=5432' },
    // Node has text in UTF-8 only; in a comment it does not matter.
    'a value that is no UTF-8': { settings: 'syslog_ident = \u00e9' },
  };
  for (const [name, given] of Object.entries(cases)) {
    itBeside(name, async () => {
      const answers = await bothAnswers({ ...given, isMute: true });
      expect([answers.theirs.verdict, answers.ours.verdict]).toEqual(['accepted', 'refused']);
    });
  }
});

describe('only we accept', () => {
  const cases: Readonly<Record<string, Case>> = {
    'words for 0 and 1': { settings: 'server_fast_close = on\nlog_connections = no' },
    'units of time': { settings: 'query_timeout = 5s' },
    'a URL': { databases: 'x = postgres://u@h/d' },
    'a log file that cannot be written': { settings: 'logfile = /nonexistent/x.log' },
    // PgBouncer does since 1.19 or later.
    'names in quotes': { databases: '"x y" = host=h' },
    peers: { rest: '[peers]\n1 = host=127.0.0.1' },
    load_balance_hosts: { databases: 'x = host=h load_balance_hosts=disable' },
    'reserve_pool_size of a database': { databases: 'x = host=h reserve_pool_size=5' },
  };
  for (const [name, given] of Object.entries(cases)) {
    itBeside(name, async () => {
      const answers = await bothAnswers({ ...given, isMute: true });
      expect([answers.theirs.verdict, answers.ours.verdict]).toEqual(['refused', 'accepted']);
    });
  }
});
