/** The program's commands, with files and an environment as their users have them, in front of PostgreSQL. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client } from 'pg';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { users } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { buildProgram, type RunningProgram, runProgram } from './pooler-process.ts';

const cluster = sharedCluster(18);
/** Not within the time of the test that comes first. */
beforeAll(async () => {
  await buildProgram();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tsbouncer-program-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

function file(name: string, text: string): string {
  const path = join(folder(), name);
  writeFileSync(path, text);
  return path;
}

async function output(program: RunningProgram): Promise<{ stdout: string; stderr: string; code: number | null }> {
  let stdout = '';
  program.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const { code } = await program.ended;
  return { stdout, stderr: program.stderr(), code };
}

async function run(argv: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  return output(await runProgram(argv, 0, { variables: environment }));
}

/** The first line of the log with `words` in it. */
function logged(program: RunningProgram, words: string): Promise<string> {
  return new Promise((found, failed) => {
    createInterface({ input: program.process.stdout! }).on('line', (line) => {
      if (line.includes(words)) found(line);
    });
    void program.ended.then(() => failed(new Error(program.stderr())));
  });
}

/** Nobody listens there a moment later. */
async function freePort(): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((found) => {
    server.listen(0, '127.0.0.1', () => found((server.address() as { port: number }).port));
  });
  await new Promise((closed) => server.close(closed));
  return port;
}

async function ask(url: string, sql: string): Promise<unknown> {
  const client = new Client(url);
  await client.connect();
  try {
    const { rows } = await client.query<{ answer: unknown }>(sql);
    return rows[0]?.answer;
  } finally {
    await client.end();
  }
}

function check(databases: object): Promise<{ stdout: string; stderr: string; code: number | null }> {
  return run(['check', file('p.yaml', JSON.stringify({ databases }))]);
}

function aliceAt(port: number): string {
  return `postgres://alice:${users.alice.password}@127.0.0.1:${port}/app`;
}

function iniOf(settings: string, databases: string): string {
  return `[databases]\n${databases}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nunix_socket_dir =\n${settings}`;
}

describe('tsbouncer with a pgbouncer.ini', () => {
  it('serves as its YAML does, which it is converted to', async () => {
    const database = await cluster.createDatabase();
    const userList = file('users.txt', `"alice" "${users.alice.password}"\n`);
    const [port, otherPort] = [await freePort(), await freePort()];
    const ini = file(
      'p.ini',
      iniOf(
        `listen_port = ${port}\nauth_type = scram-sha-256\nauth_file = ${userList}\npool_mode = transaction\npkt_buf = 2048`,
        `app = host=${cluster.host} port=${cluster.port} dbname=${database}`,
      ),
    );
    const first = await runProgram([ini]);
    const line = await logged(first, 'listening');
    expect(line, 'PgBouncer’s form').toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ UTC \[\d+\] LOG listening/);
    expect(await ask(aliceAt(port), 'select current_database() as answer')).toBe(database);

    const converted = await run(['convert', ini]);
    expect(converted).toMatchObject({ code: 0, stderr: '' });
    const yaml = file('p.yaml', converted.stdout.replace(String(port), String(otherPort)));
    const second = await runProgram([yaml]);
    await logged(second, 'listening');
    expect(await ask(aliceAt(otherPort), 'select current_user as answer')).toBe('alice');
  });

  it('does not start with a mistake, and says where it is', async () => {
    const ini = file('p.ini', iniOf('pool_mod = x\ndefault_pool_size = many', 'app = host=x'));
    const { stdout, stderr, code } = await run([ini]);
    expect({ stdout, code }).toEqual({ stdout: '', code: 1 });
    expect(stderr).toBe(
      `tsbouncer: ${ini}:6:1: unknown setting "pool_mod" (did you mean "pool_mode"?)\n` +
        `${ini}:7:21: bad value for "default_pool_size": expected a whole number from 0, found "many"\n`,
    );
  });

  it('refuses what it cannot do, with the usage', async () => {
    expect(await run(['-R', 'p.ini'])).toMatchObject({ code: 2, stderr: expect.stringContaining('usage: tsbouncer') });
    expect(await run(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^tsbouncer \d/) });
    const daemon = await run(['-d', file('p.ini', iniOf('', ''))]);
    expect(daemon).toMatchObject({ code: 1, stderr: expect.stringContaining('-d needs the setting pidfile') });
  });
});

describe('tsbouncer -d', () => {
  it('returns when the pooler serves, in a process that its pid file names', async () => {
    const database = await cluster.createDatabase();
    const port = await freePort();
    const place = folder();
    const pidFile = join(place, 'pid');
    const settings = `listen_port = ${port}\nauth_type = trust\npidfile = ${pidFile}\nlogfile = ${place}/log\nauth_file = ${place}/users`;
    writeFileSync(join(place, 'users'), '"dave" ""\n');
    const ini = file('p.ini', iniOf(settings, `app = host=${cluster.host} port=${cluster.port} dbname=${database}`));
    expect(await run(['-d', ini])).toMatchObject({ code: 0, stdout: '', stderr: '' });
    const pid = Number(readFileSync(pidFile, 'utf8'));
    onTestFinished(() => void process.kill(pid, 'SIGKILL'));
    expect(await ask(`postgres://dave@127.0.0.1:${port}/app`, 'select current_database() as answer')).toBe(database);

    const second = await run(['-d', ini]);
    expect(second).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(`process id ${pid}`) });
    const other = file('q.ini', iniOf(settings.replace(pidFile, join(place, 'other')), 'app = host=x'));
    const inUse = await run(['-d', other]);
    expect(inUse).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(`EADDRINUSE`) });
  });
});

describe('tsbouncer convert', () => {
  it('says that there are passwords, where nobody reads them by mistake', async () => {
    const ini = file('p.ini', iniOf('', "app = host=x password='hunter2'"));
    const { stdout, stderr, code } = await run(['convert', ini]);
    expect(code).toBe(0);
    expect(stdout).toContain('password: "hunter2"');
    expect(stderr).toMatch(/^tsbouncer: the YAML holds passwords/);
    expect(stderr).not.toContain('hunter2');
  });
});

describe('tsbouncer check', () => {
  it('says what the pools add up to on the server', async () => {
    const database = await cluster.createDatabase();
    const [most, reserved] = await Promise.all(
      ['max_connections', 'superuser_reserved_connections'].map(async (name) =>
        Number(await ask(cluster.url(database), `select current_setting('${name}') as answer`)),
      ),
    );
    const room = most! - reserved!;
    const entry = { host: cluster.host, port: cluster.port, user: 'alice', password: users.alice.password };
    const fine = await check({ [database]: { ...entry, pool_size: 5 } });
    expect(fine.stdout).toContain(`max_connections ${most}, ${reserved} of them reserved`);
    expect(fine.stdout).toContain('one pool, of the user alice: at most 5 connections');
    expect(fine.stdout).toContain(`together: at most 5 connections of ${room}`);
    expect(fine.code).toBe(0);

    expect(fine.stdout).not.toContain('auth_query');
    const asking = await check({ [database]: { ...entry, auth_user: 'alice' } });
    expect(asking.stdout).toContain('users whom auth_query knows may have pools as well, which are not counted');

    const tooMany = await check({ [database]: { ...entry, pool_size: room + 1 } });
    expect(tooMany.stdout).toContain(`together: at most ${room + 1} connections, more than the ${room} that it has`);
    expect(tooMany.code).toBe(1);
  });

  it('goes on when a server is down, refuses the password, or nobody is known to ask', async () => {
    const database = await cluster.createDatabase();
    const port = await freePort();
    const { host } = cluster;
    const { stdout, code } = await check({
      down: { host: '127.0.0.1', port, user: 'x', password: 'y' },
      [database]: { host, port: cluster.port, user: 'alice', password: 'wrong' },
      nobody: { host: 'localhost', port },
    });
    expect(code).toBe(1);
    expect(stdout).toMatch(new RegExp(`PostgreSQL 127.0.0.1:${port}: not asked: .*ECONNREFUSED`));
    expect(stdout).toMatch(/not asked: .*password authentication failed/);
    expect(stdout).toContain(`PostgreSQL localhost:${port}: not asked, as no user with a secret is known`);
    expect(stdout).not.toContain('wrong');
  });
});

describe('tsbouncer beside an application', () => {
  it('pools what DATABASE_URL names, for those who know its password', async () => {
    const database = await cluster.createDatabase();
    const port = await freePort();
    const credentials = `alice:${users.alice.password}`;
    const program = await runProgram([], 0, {
      variables: {
        DATABASE_URL: `postgres://${credentials}@${cluster.host}:${cluster.port}/${database}`,
        TSBOUNCER_LISTEN_PORT: String(port),
        TSBOUNCER_POOL_MODE: 'transaction',
      },
    });
    await logged(program, 'listening');
    expect(await ask(`postgres://${credentials}@127.0.0.1:${port}/${database}`, 'select current_user as answer')).toBe(
      'alice',
    );
    for (const url of [
      `postgres://alice:wrong@127.0.0.1:${port}/${database}`,
      `postgres://postgres@127.0.0.1:${port}/${database}`,
    ]) {
      await expect(ask(url, 'select 1')).rejects.toThrow(/password/);
    }
  });

  it('does not start with a setting that there is not', async () => {
    const { code, stderr } = await run([], { DATABASE_URL: 'postgres://a:hunter2@h/d', TSBOUNCER_POOL_MOD: 'x' });
    expect(code).toBe(1);
    expect(stderr).toBe(
      'tsbouncer: environment variable TSBOUNCER_POOL_MOD: unknown setting "pool_mod" (did you mean "pool_mode"?)\n',
    );
  });
});
