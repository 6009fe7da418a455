/** Things that a session of PostgreSQL can keep, each with how a client makes it and how it can be asked for. */
import * as bytes from '../support/corpus/client-bytes.ts';

export interface SessionFeature {
  /** As it stands in `docs/pooling-modes.md`. */
  readonly name: string;
  /** What the client's startup packet asks for. */
  readonly startup?: Readonly<Record<string, string>>;
  /** Each with its own ReadyForQuery. */
  readonly plant: readonly Buffer[];
  /** Its first value is `t` if and only if the session has it; an error is no. */
  readonly probe: Buffer;
  /** It is asked for before its transaction ends. */
  readonly isOfTransaction?: boolean;
  /** It is no part of a session, so that others see it anyway; `after` ends it. */
  readonly isOfDatabase?: boolean;
  readonly after?: string;
  /** What to do where it does not work. */
  readonly instead?: string;
}

const sql = (...texts: readonly string[]): Buffer[] => texts.map(bytes.query);
const extended = (text: string): Buffer => Buffer.concat([bytes.extended(text), bytes.sync]);
const is = (name: string, value: string): Buffer => bytes.query(`select current_setting('${name}') = '${value}'`);
const exists = (what: string): Buffer => bytes.query(`select exists (select from ${what})`);
const temporary = exists(`pg_class where relname like 'canary%' and relnamespace = pg_my_temp_schema()`);
const locked = exists(`pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`);
const executed = (statement: string): Buffer => Buffer.concat([bytes.bind({ statement }), bytes.execute(), bytes.sync]);

const SET_LOCAL = '`set_config(…, true)`, `SET LOCAL`';
const AT_STARTUP = '`SET LOCAL`, `options=-c …` at startup, `ALTER ROLE … SET`';
const ON_COMMIT_DROP = '`ON COMMIT DROP` in a transaction';

export const FEATURES: readonly SessionFeature[] = [
  {
    name: 'transaction blocks, `SET TRANSACTION`',
    isOfTransaction: true,
    plant: sql('begin', 'set transaction isolation level serializable'),
    probe: is('transaction_isolation', 'serializable'),
  },
  {
    name: '`SET LOCAL`',
    isOfTransaction: true,
    plant: sql('begin', "set local work_mem = '3MB'"),
    probe: is('work_mem', '3MB'),
  },
  {
    name: 'cursors',
    isOfTransaction: true,
    plant: sql('begin', 'declare canary cursor for select 1'),
    probe: exists(`pg_cursors where name = 'canary'`),
  },
  {
    name: '`CREATE TEMP TABLE … ON COMMIT DROP`',
    isOfTransaction: true,
    plant: sql('begin', 'create temp table canary (a int) on commit drop'),
    probe: temporary,
  },
  {
    name: '`pg_advisory_xact_lock(…)`',
    isOfTransaction: true,
    plant: sql('begin', 'select pg_advisory_xact_lock(1)'),
    probe: locked,
  },
  {
    name: 'prepared statements of the protocol, named',
    plant: [Buffer.concat([bytes.parse('select true', 'canary'), bytes.sync])],
    probe: executed('canary'),
  },
  {
    name: 'prepared statements of the protocol, unnamed',
    plant: [Buffer.concat([bytes.parse('select true'), bytes.sync])],
    probe: executed(''),
  },
  {
    name: 'startup parameters, by themselves and in `options`',
    startup: { options: '-c statement_timeout=123s' },
    plant: [],
    probe: is('statement_timeout', '123s'),
    instead: '[`parameters.md`](parameters.md)',
  },
  {
    name: '`SET` of what servers report: `TimeZone`, `DateStyle`, `application_name`, …',
    plant: sql("set timezone = 'Asia/Tokyo'"),
    probe: is('timezone', 'Asia/Tokyo'),
  },
  {
    name: '`set_config(name, value, false)` of what servers report',
    plant: sql("select set_config('timezone', 'Asia/Tokyo', false)"),
    probe: is('timezone', 'Asia/Tokyo'),
  },
  {
    name: '`SET search_path`, which servers report from 18 on',
    plant: sql('set search_path = canary'),
    probe: is('search_path', 'canary'),
    instead: AT_STARTUP,
  },
  {
    name: '`SET` of anything else',
    plant: sql("set work_mem = '3MB'"),
    probe: is('work_mem', '3MB'),
    instead: AT_STARTUP,
  },
  {
    name: '`SET ROLE`',
    plant: sql('set role alice'),
    probe: bytes.query("select current_user = 'alice'"),
    instead: '`SET LOCAL ROLE`, `options=-c role=…` at startup',
  },
  {
    name: '`SET SESSION AUTHORIZATION`',
    plant: sql('set session authorization alice'),
    probe: bytes.query("select session_user = 'alice'"),
    instead: '`SET LOCAL ROLE`',
  },
  {
    name: '`SET SESSION CHARACTERISTICS`',
    plant: sql('set session characteristics as transaction isolation level serializable'),
    probe: is('default_transaction_isolation', 'serializable'),
    instead: '`SET TRANSACTION`, `options=-c …` at startup',
  },
  {
    name: '`LISTEN`',
    plant: sql('listen canary'),
    probe: exists("pg_listening_channels() as channel where channel = 'canary'"),
    instead: 'a session-mode entry for those who listen; `NOTIFY` works anywhere',
  },
  {
    name: 'SQL `PREPARE`',
    plant: sql('prepare canary as select 1'),
    probe: exists(`pg_prepared_statements where name = 'canary' and from_sql`),
    instead: 'prepared statements of the protocol',
  },
  {
    name: '`DECLARE … WITH HOLD`',
    plant: sql('declare canary cursor with hold for select 1'),
    probe: exists(`pg_cursors where name = 'canary'`),
    instead: 'a cursor inside its transaction',
  },
  {
    name: '`CREATE TEMP TABLE`',
    plant: sql('create temp table canary (a int)'),
    probe: temporary,
    instead: ON_COMMIT_DROP,
  },
  {
    name: '`CREATE TEMP VIEW`',
    plant: sql('create temp view canary as select 1'),
    probe: temporary,
    instead: 'a view',
  },
  {
    name: '`CREATE TEMP SEQUENCE`',
    plant: sql('create temp sequence canary'),
    probe: temporary,
    instead: 'a sequence',
  },
  {
    name: 'functions and tables in `pg_temp`',
    plant: sql("create function pg_temp.canary() returns int language sql as 'select 1'"),
    probe: exists('pg_proc where pronamespace = pg_my_temp_schema()'),
    instead: 'a schema of your own',
  },
  {
    name: '`SELECT … INTO TEMP`',
    plant: sql('select 1 as a into temp canary'),
    probe: temporary,
    instead: ON_COMMIT_DROP,
  },
  {
    name: '`LOAD`',
    plant: sql("load 'plpgsql'"),
    probe: bytes.query("select current_setting('plpgsql.variable_conflict', true) is not null"),
    instead: '`session_preload_libraries`',
  },
  {
    name: '`PREPARE TRANSACTION`',
    plant: sql('begin', 'select pg_current_xact_id()', "prepare transaction 'canary'"),
    probe: exists(`pg_prepared_xacts where gid = 'canary'`),
    isOfDatabase: true,
    after: "rollback prepared 'canary'",
  },
  {
    name: '`set_config(name, value, false)` of what servers do not report',
    plant: sql("select set_config('work_mem', '3MB', false)"),
    probe: is('work_mem', '3MB'),
    instead: SET_LOCAL,
  },
  {
    name: 'what a function or a `DO` block sets, makes or listens to',
    plant: sql("do $$ begin set work_mem = '3MB'; end $$"),
    probe: is('work_mem', '3MB'),
    instead: '`SET LOCAL`, `ON COMMIT DROP`',
  },
  {
    name: '`pg_advisory_lock(…)`',
    plant: sql('select pg_advisory_lock(1)'),
    probe: locked,
    instead: '`pg_advisory_xact_lock(…)`',
  },
  {
    name: '`SELECT … INTO TEMP` that finds no row, in the extended protocol',
    plant: [extended('select 1 as a into temp canary where false')],
    probe: temporary,
    instead: '`CREATE TEMP TABLE … AS` by itself',
  },
  {
    name: '`EXPLAIN ANALYZE` of a `CREATE TEMP TABLE … AS`',
    plant: sql('explain analyze create temp table canary as select 1 as a'),
    probe: temporary,
    instead: '`CREATE TEMP TABLE … AS` by itself',
  },
  {
    name: '`currval()` and `lastval()` of sequences',
    plant: sql("select nextval('canary_sequence')"),
    probe: bytes.query('select lastval() is not null'),
    instead: '`INSERT … RETURNING`',
  },
];
