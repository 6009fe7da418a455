/** The console as programs and drivers use it, and beside PgBouncer's own. */
import { rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, type QueryConfig } from 'pg';
import postgres from 'postgres';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SHOW_TABLES } from '../../src/admin/show-tables.ts';
import { query } from '../support/corpus/client-bytes.ts';
import { TcpClient } from '../support/corpus/tcp-client.ts';
import { type PoolerFixture, type PoolerOptions, pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { ADDED_SINCE_1_18, RENAMED_SINCE_1_18 } from '../support/show-differences.ts';
import { itWith, JDBC, runSystemClient, SystemProcess } from '../support/system-clients.ts';
import { poolerProcess } from './pooler-process.ts';

const CONSOLE = { admin_users: 'dave', stats_users: 'carol' };

function start(options: Partial<PoolerOptions> = {}): Promise<PoolerFixture> {
  return pooler({ cluster: sharedCluster(18), pool_mode: 'transaction', ...CONSOLE, ...options });
}

const urlOf = (pool: PoolerFixture): string => pool.urlOf('dave', 'pgbouncer');

async function consoleOf(pool: PoolerFixture): Promise<Client> {
  return pool.client({ connectionString: urlOf(pool) });
}

/** `binary` is missing in the types of node-postgres. */
function binaryQuery(client: Client, text: string): Promise<{ rows: Record<string, unknown>[] }> {
  const config: QueryConfig & { readonly binary: true } = { name: `binary ${text}`, text, binary: true };
  return client.query(config);
}

describe('drivers', { timeout: 60_000 }, () => {
  itWith('psql')('psql runs commands, sees tables, notices and errors, and goes on', async () => {
    const pool = await start();
    const { stdout, stderr } = await runSystemClient(
      'psql',
      ['-X', '-A', '-t', urlOf(pool)],
      'SHOW VERSION;\nshow help;\nPAUSE; RESUME;\nfoo;\nshow databases;\n\\conninfo\n',
    );
    expect(stdout).toContain('tsbouncer ');
    expect(stdout).toContain('PAUSE\nRESUME\n');
    expect(stdout).toContain(`${pool.database}|127.0.0.1|`);
    expect(stderr).toContain('Console usage');
    expect(stderr).toContain("invalid command 'foo', use SHOW HELP;");
  });

  it('node-postgres, in both protocols and formats', async () => {
    const pool = await start();
    const client = await consoleOf(pool);
    const plain = await client.query('SHOW LISTS');
    const prepared = await client.query({ name: 'lists', text: 'SHOW LISTS' });
    const again = await client.query({ name: 'lists', text: 'SHOW LISTS' });
    const binary = await binaryQuery(client, 'SHOW LISTS');
    for (const { rows } of [prepared, again, binary]) expect(rows).toEqual(plain.rows);
    const stats = await binaryQuery(client, 'SHOW STATS_TOTALS');
    const { rows } = await client.query<Record<string, string>>('SHOW STATS_TOTALS');
    // By one query more.
    const counts = rows.map((row) => Number(row['query_count']) - Number(row['database'] === 'pgbouncer'));
    expect(stats.rows.map((row) => Number(row['query_count']))).toEqual(counts);
    await expect(client.query({ name: 'wrong', text: 'SHOW nothing' })).rejects.toMatchObject({ code: '42601' });
    await expect(client.query({ name: 'two', text: 'PAUSE; RESUME' })).rejects.toMatchObject({ code: '42601' });
    await expect(client.query('SHOW $1', ['x'])).rejects.toMatchObject({ code: '42601' });
    expect((await client.query('')).rows).toEqual([]);
    expect((await client.query({ name: 'ping', text: '-- ping' })).rows).toEqual([]);
    expect((await client.query('SHOW VERSION')).rows.length).toBe(1);
  });

  it('postgres.js', async () => {
    const pool = await start();
    const sql = postgres(urlOf(pool), { max: 1, fetch_types: false, onnotice: () => {} });
    onTestFinished(() => sql.end());
    const rows = await sql`SHOW POOLS`;
    expect(rows.at(-1)).toMatchObject({ database: 'pgbouncer', cl_active: 1, pool_mode: 'statement' });
    await expect(sql`PAUSE nope`).rejects.toMatchObject({ code: '3D000' });
    expect((await sql.unsafe('SHOW STATE')).length).toBe(3);
  });

  itWith('psycopg')('psycopg, which prepares by itself', async () => {
    const pool = await start();
    const script = [
      'import psycopg, sys',
      'with psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=2) as c:',
      '  for i in range(6):',
      '    names = [row[0] for row in c.execute("SHOW LISTS").fetchall()]',
      '  print(",".join(names))',
      '  cur = c.cursor(binary=True)',
      '  print(cur.execute("SHOW STATS").fetchall()[0][0], c.execute("SHOW POOLS").fetchall()[0][2])',
      '  try: c.execute("PAUSE nope")',
      '  except psycopg.Error as e: print(e.sqlstate)',
    ].join('\n');
    const program = new SystemProcess('psycopg', ['-c', script, urlOf(pool)]);
    const { stdout, stderr } = await program.end();
    expect(stderr).toBe('');
    expect(stdout).toContain('databases,users,peers,pools');
    expect(stdout).toContain('pgbouncer 1\n3D000\n');
  });

  itWith('JDBC')('JDBC, which asks for binary results', async () => {
    const pool = await start();
    const file = join(import.meta.dirname, '../support/drivers/ConsoleClient.java');
    const url = `jdbc:postgresql://${pool.host}:${pool.port}/pgbouncer?user=dave`;
    const { stdout, stderr } = await new SystemProcess('JDBC', ['-cp', JDBC, file, url]).end();
    // It warns of any server_version below 8, as of PgBouncer's.
    expect(stderr).not.toContain('Exception');
    expect(stdout).toMatch(/pgbouncer 2\n[^]*\n\d+\n3D000\ntrue\n$/);
  });
});

/** Name and type of each column of a RowDescription. */
function fieldsOf(body: Buffer): { readonly name: string; readonly oid: number }[] {
  const fields: { name: string; oid: number }[] = [];
  let at = 2;
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    const nul = body.indexOf(0, at);
    fields.push({ name: body.toString('utf8', at, nul), oid: body.readUInt32BE(nul + 7) });
    at = nul + 19;
  }
  return fields;
}

describe('pgbouncer_exporter', () => {
  /** What lib/pq hands on as text, so that the exporter can make a label of it. */
  const LABEL_TYPES = [25, 1043, 18, 20, 23];
  const LABELS = new Set([
    'database',
    'user',
    'name',
    'host',
    'port',
    'force_user',
    'pool_mode',
    'state',
    'list',
    'key',
    'version',
  ]);

  it('finds what it asks for, in types that it can read', async () => {
    const pool = await start({ max_user_connections: 7 });
    const app = await pool.client();
    await app.query('select 1');
    const scrape = await TcpClient.login(pool, {
      user: 'carol',
      database: 'pgbouncer',
      extra_float_digits: '2',
      datestyle: 'ISO, MDY',
      client_encoding: 'UTF8',
    });
    onTestFinished(() => scrape.leave());
    const ask = async (what: string) => {
      scrape.send(query(`SHOW ${what};`));
      const messages = await scrape.take('Z');
      const fields = fieldsOf(messages.find(({ type }) => type === 'T')!.body);
      for (const { name, oid } of fields) if (LABELS.has(name)) expect(LABEL_TYPES).toContain(oid);
      return { fields: fields.map(({ name }) => name), messages };
    };
    await ask('STATS');
    expect((await ask('VERSION')).fields).toEqual(['version']);
    expect((await ask('LISTS')).fields.length).toBe(2);
    expect((await ask('CONFIG')).fields).toEqual(['key', 'value', 'default', 'changeable']);
    expect((await ask('CLIENTS')).fields).toEqual(expect.arrayContaining(['database', 'user', 'state']));
    for (const what of ['DATABASES', 'STATS_TOTALS', 'POOLS']) await ask(what);
    const config = await (await consoleOf(pool)).query<{ key: string; value: string }>('SHOW CONFIG');
    const numeric = new Map(config.rows.map(({ key, value }) => [key, Number(value)]));
    expect([numeric.get('max_client_conn'), numeric.get('max_user_connections')]).toEqual([1000, 7]);
  });
});

describe('what is shown', () => {
  it('is no secret: neither passwords nor keys, in any table', async () => {
    const pool = await start({ database: { password: 'topsecret', user: 'dave' } });
    const app = await pool.raw();
    await app.query('select 1');
    const client = await consoleOf(pool);
    for (const { name } of SHOW_TABLES) {
      const text = JSON.stringify((await client.query(`SHOW ${name}`)).rows);
      expect(text).not.toContain('topsecret');
      expect(text).not.toContain(app.cancelKey.toString('hex'));
      expect(text).not.toContain(app.cancelKey.subarray(4).readInt32BE(0));
    }
  });

  it('is who is there, and linked to whom', async () => {
    const pool = await start();
    const app = await pool.client({ application_name: 'shop' });
    await app.query('begin');
    const client = await consoleOf(pool);
    const clients = await client.query<Record<string, unknown>>('SHOW CLIENTS');
    const servers = await client.query<Record<string, unknown>>('SHOW SERVERS');
    const shop = clients.rows.find((row) => row['application_name'] === 'shop')!;
    const [server] = servers.rows;
    const { rows } = await app.query<{ pid: number }>('select pg_backend_pid() as pid');
    expect(shop).toMatchObject({ type: 'C', user: 'dave', database: pool.database, state: 'active', tls: '' });
    expect(server).toMatchObject({ type: 'S', state: 'active', remote_pid: rows[0]!.pid, link: shop['ptr'] });
    expect(shop['link']).toBe(server!['ptr']);
    expect(String(shop['connect_time'])).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
    await app.query('rollback');
  });
});

it('SHUTDOWN ends the process, with its clients told', async () => {
  const running = await poolerProcess({ cluster: sharedCluster(18), ...CONSOLE });
  const login = { user: 'dave', database: 'pgbouncer' };
  const [idle, admin] = [await TcpClient.login(running, login), await TcpClient.login(running, login)];
  admin.send(query('SHUTDOWN'));
  expect([await idle.fatal(), await admin.fatal()]).toEqual(['57P01', '57P01']);
  expect(await running.ended).toEqual({ code: 0, signal: null });
});

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('PgBouncer 1.18', () => {
  itWith('pgbouncer')(
    'has the same columns, types and order, but for the differences that are written down',
    async () => {
      const pool = await start();
      const port = await freePort();
      const { host, port: serverPort } = pool.cluster;
      const ini = [
        '[databases]',
        `${pool.database} = host=${host} port=${serverPort}`,
        '[pgbouncer]',
        'listen_addr = 127.0.0.1',
        `listen_port = ${port}`,
        'unix_socket_dir =',
        'auth_type = any',
        'admin_users = dave',
      ];
      // It does not run as root, and whom it becomes must be able to read this.
      const file = join(tmpdir(), `tsbouncer-beside-${process.pid}.ini`);
      onTestFinished(() => rmSync(file));
      writeFileSync(file, `${ini.join('\n')}\n`, { mode: 0o644 });
      const asNobody = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
      const bouncer = new SystemProcess('pgbouncer', [...asNobody, file]);
      await bouncer.complains('process up');
      const theirs = new Client({ host: '127.0.0.1', port, user: 'dave', database: 'pgbouncer' });
      await theirs.connect();
      const ours = await consoleOf(pool);
      const shown = [
        'active_sockets',
        'clients',
        'config',
        'databases',
        'dns_hosts',
        'dns_zones',
        'fds',
        'lists',
        'mem',
      ];
      shown.push(
        'pools',
        'servers',
        'sockets',
        'stats',
        'stats_averages',
        'stats_totals',
        'totals',
        'users',
        'version',
      );
      for (const name of shown) {
        const shape = async (client: Client) =>
          (await client.query(`SHOW ${name}`)).fields.map((field) => `${field.name} ${field.dataTypeID}`);
        const added = new Set(ADDED_SINCE_1_18[name]);
        const old = (await shape(theirs)).map((column) => RENAMED_SINCE_1_18[`${name} ${column}`] ?? column);
        const common = (await shape(ours)).filter((column) => !added.has(column.split(' ')[0]!));
        expect({ name, columns: common }).toEqual({ name, columns: old });
      }
      await theirs.end();
    },
  );
});
