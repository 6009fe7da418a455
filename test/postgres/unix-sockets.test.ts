/** Unix sockets on both sides, and who gets in by the rules of pg_hba.conf. */
import { chmodSync, existsSync, lstatSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createPooler } from '../../src/pooler.ts';
import { configurationOf, pooler, startPooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { itWith, runSystemClient } from '../support/system-clients.ts';

const cluster = sharedCluster(18);

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tsbouncer-unix-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function file(text: string, name = 'pg_hba.conf'): string {
  const path = join(folder(), name);
  writeFileSync(path, text);
  return path;
}

async function ask(host: string, port: number, user: string, database: string, password = ''): Promise<unknown> {
  const client = new Client({ host, port, user, database, password });
  try {
    await client.connect();
    const { rows } = await client.query<{ one: number }>('select 1 as one');
    await client.end();
    return rows[0]?.one;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

/** PostgreSQL behind a Unix socket. */
async function unixProxy(port: number): Promise<{ readonly folder: string; readonly server: Server }> {
  const path = folder();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: cluster.host, port: cluster.port, allowHalfOpen: true });
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) socket.on('error', () => [client, upstream].map((each) => each.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(join(path, `.s.PGSQL.${port}`), resolve));
  onTestFinished(() => void server.close());
  return { folder: path, server };
}

describe('a Unix socket to listen on', () => {
  it.each([true, false])('serves clients and goes with the pooler (direct handles: %s)', async (directIo) => {
    const unix_socket_dir = folder();
    const fixture = await startPooler({ cluster, unix_socket_dir, unix_socket_mode: '0750', directIo });
    const path = join(unix_socket_dir, `.s.PGSQL.${fixture.port}`);
    expect(lstatSync(path).isSocket()).toBe(true);
    expect((lstatSync(path).mode & 0o777).toString(8)).toBe('750');
    expect(await ask(unix_socket_dir, fixture.port, 'alice', fixture.database)).toBe(1);
    const login = fixture.log.find(({ message }) => message === 'login');
    expect(login?.fields).toMatchObject({ client: `unix:${fixture.port}` });
    await fixture.close();
    expect(existsSync(path)).toBe(false);
  });

  itWith('psql')('is found by psql', async () => {
    const unix_socket_dir = folder();
    const { port, database } = await pooler({ cluster, unix_socket_dir });
    const { stdout } = await runSystemClient('psql', [
      '-XAt',
      `host=${unix_socket_dir} port=${port} user=alice dbname=${database}`,
      '-c',
      String.raw`\conninfo`,
    ]);
    expect(stdout).toContain(`via socket in "${unix_socket_dir}"`);
  });

  it('takes the place of one that a killed process has left, and of nothing else', async () => {
    const unix_socket_dir = folder();
    const first = await startPooler({ cluster, unix_socket_dir });
    const path = join(unix_socket_dir, `.s.PGSQL.${first.port}`);
    const again = configurationOf({ cluster, unix_socket_dir, listen_addr: '127.0.0.2' }, 'postgres');
    const samePort = {
      ...again,
      pgbouncer: { ...(again as { pgbouncer: object }).pgbouncer, listen_port: first.port },
    };

    await expect(createPooler(samePort)).rejects.toThrow(`another server listens on ${path}`);
    expect(await ask(unix_socket_dir, first.port, 'alice', first.database)).toBe(1);
    await first.close();

    writeFileSync(path, 'precious');
    await expect(createPooler(samePort)).rejects.toThrow(`${path} is there already and is not a socket`);
    rmSync(path);

    // What kill -9 leaves: the file of a socket that is closed.
    const left = createServer();
    await new Promise<void>((resolve) => left.listen(join(unix_socket_dir, 'other'), resolve));
    renameSync(join(unix_socket_dir, 'other'), path);
    await new Promise((resolve) => left.close(resolve));
    expect(lstatSync(path).isSocket()).toBe(true);
    const second = await createPooler(samePort);
    expect(await ask(unix_socket_dir, first.port, 'alice', 'postgres')).toBe(1);
    await second.close();
  });

  it.each([
    [{ unix_socket_dir: '@name' }, 'abstract Unix sockets'],
    [{ unix_socket_dir: 'relative' }, 'expected the absolute path of a folder'],
    [{ unix_socket_dir: tmpdir(), unix_socket_mode: '999' }, 'expected an octal number'],
    [{ unix_socket_dir: tmpdir(), unix_socket_group: 'no-such-group' }, 'there is no group "no-such-group"'],
    [{ unix_socket_dir: '/no/such/folder' }, 'ENOENT'],
  ])('is refused with %j', async (settings, message) => {
    const configuration = configurationOf({ cluster, ...settings }, 'postgres');
    await expect(createPooler(configuration)).rejects.toThrow(message);
  });
});

describe('a Unix socket of the server', () => {
  it.each([true, false])('is dialed, and cancels go there too (direct handles: %s)', async (directIo) => {
    const { folder: host } = await unixProxy(5499);
    const fixture = await pooler({ cluster, through: { host, port: 5499 }, directIo, pool_mode: 'transaction' });
    expect(await ask(fixture.host, fixture.port, 'alice', fixture.database)).toBe(1);
    const client = new Client({ host: fixture.host, port: fixture.port, user: 'alice', database: fixture.database });
    await client.connect();
    const sleeping = client.query('select pg_sleep(60)').catch((error: { code: string }) => error.code);
    while (!(await cluster.activity(fixture.database)).some(({ state }) => state === 'active'));
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const cancel = connect(fixture.port, fixture.host);
    const packet = Buffer.alloc(16);
    packet.writeUInt32BE(16, 0);
    packet.writeUInt32BE(80_877_102, 4);
    packet.writeUInt32BE(processID >>> 0, 8);
    packet.writeUInt32BE(secretKey >>> 0, 12);
    cancel.end(packet);
    expect(await sleeping).toBe('57014');
    await client.end();
  });
});

describe('auth_type hba', () => {
  it('asks each connection for what its line says', async () => {
    const unix_socket_dir = folder();
    const auth_hba_file = file(
      'local all alice trust\nlocal all all reject\nhost all alice 127.0.0.0/8 scram-sha-256\nhost all bob 10.0.0.0/8 trust\n',
    );
    const { host, port, database, log } = await pooler({ cluster, unix_socket_dir, auth_type: 'hba', auth_hba_file });
    expect(await ask(unix_socket_dir, port, 'alice', database)).toBe(1);
    expect(await ask(unix_socket_dir, port, 'bob', database)).toBe('28P01');
    expect(await ask(host, port, 'alice', database, 'wrong')).toBe('28P01');
    expect(await ask(host, port, 'alice', database, 'alice-secret')).toBe(1);
    expect(await ask(host, port, 'bob', database)).toBe('28P01');
    const causes = log
      .filter(({ message }) => message === 'login refused')
      .map(({ fields }) => [fields['cause'], fields['line']]);
    expect(causes).toEqual([
      ['rejected by auth_hba_file', 2],
      ['wrong password', undefined],
      ['no line of auth_hba_file is for this connection', null],
    ]);
  });

  it('knows by peer who is at the other end, where only one user can be', async () => {
    const unix_socket_dir = folder();
    chmodSync(unix_socket_dir, 0o700);
    const auth_hba_file = file('local all alice peer map=own\nlocal all all peer\n');
    const auth_ident_file = file(`own ${userInfo().username} alice\n`, 'pg_ident.conf');
    const settings = { unix_socket_dir, auth_type: 'hba', auth_hba_file, auth_ident_file };
    const { port, database } = await pooler({ cluster, ...settings });
    expect(await ask(unix_socket_dir, port, 'alice', database)).toBe(1);
    expect(await ask(unix_socket_dir, port, 'bob', database)).toBe('28P01');

    chmodSync(unix_socket_dir, 0o750);
    const open = createPooler(configurationOf({ cluster, ...settings }, 'postgres'));
    await expect(open).rejects.toThrow(`${auth_hba_file}:1:1: method "peer" works where unix_socket_dir`);
  });

  it.each([
    ['host all all all gss', ':1:1: method "gss" is not supported'],
    ['hostssl all all all cert map=none', ':1:1: there is no map "none" in auth_ident_file'],
    ['host all @missing all trust', ':1:1: "@missing" cannot be read'],
  ])('does not start with the line "%s"', async (line, message) => {
    const auth_hba_file = file(`${line}\n`);
    const configuration = configurationOf({ cluster, auth_type: 'hba', auth_hba_file }, 'postgres');
    await expect(createPooler(configuration)).rejects.toThrow(auth_hba_file + message);
  });

  it('does not start without its file', async () => {
    for (const settings of [{}, { auth_hba_file: '/no/such/file' }]) {
      const configuration = configurationOf({ cluster, auth_type: 'hba', ...settings }, 'postgres');
      await expect(createPooler(configuration)).rejects.toThrow(/needs auth_hba_file|cannot be read/);
    }
  });
});
