import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres.ts';
import { findPackage } from '../../src/embedded-postgres-install.ts';
import { makeClusterDirectory, makeProgramsDirectory } from '../support/cluster-directory.ts';
import { findPackageOf15, PROGRAMS_VARIABLE } from '../support/postgres-cluster.ts';

const run = promisify(execFile);

let directory: string;
let running: EmbeddedPostgres[];
const settings = { fsync: 'off', shared_buffers: '16MB', max_connections: '10' };

async function openDirectory(): Promise<void> {
  directory = await makeClusterDirectory();
}

async function removeDirectory(): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}

beforeEach(() => {
  running = [];
});

afterEach(async () => {
  await Promise.all(running.map((postgres) => postgres.stop('fast')));
});

async function start(options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
  const installDirectory = process.env[PROGRAMS_VARIABLE] ?? directory;
  const postgres = await startEmbeddedPostgres({ directory, installDirectory, settings, ...options });
  running.push(postgres);
  return postgres;
}

async function query(postgres: { port: number }, sql: string, password?: string): Promise<unknown[]> {
  const client = new Client({
    host: '127.0.0.1',
    port: postgres.port,
    user: 'postgres',
    database: 'postgres',
    password,
  });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** The process id of a process that has ended. */
async function endedPid(): Promise<number> {
  const child = spawn(process.execPath, ['--version']);
  await once(child, 'exit');
  return child.pid ?? 0;
}

describe('a start', () => {
  beforeEach(openDirectory);
  afterEach(removeDirectory);

  it('makes the data as a user who is not root, and the next start keeps them', async () => {
    const first = await start({ password: 'secret' });
    expect(first).toMatchObject({
      host: '127.0.0.1',
      version: expect.stringMatching(/^18\./),
      directory,
      created: true,
    });
    expect((await stat(join(directory, 'data'))).uid).not.toBe(0);
    await query(first, 'create table kept as select 1 as a', 'secret');
    await first.stop();

    const second = await start();
    expect(second.created).toBe(false);
    expect(await query(second, 'select a from kept', 'secret')).toEqual([{ a: 1 }]);
  });

  it('leaves no password behind, asks for it, and obeys hba lines first', async () => {
    const postgres = await start({ password: 'secret', authMethod: 'scram-sha-256' });
    expect((await readdir(directory)).filter((name) => !name.startsWith('postgresql-')).sort()).toEqual([
      'data',
      'owner.pid',
      'pg_hba.conf',
      'postgres.log',
    ]);
    await expect(query(postgres, 'select 1', 'wrong')).rejects.toMatchObject({ code: '28P01' });
    await postgres.stop();
    const open = await start({ hba: ['host all postgres samehost trust'] });
    expect(await query(open, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('works under a umask that leaves nothing to others', async () => {
    const umask = process.umask(0o077);
    onTestFinished(() => void process.umask(umask));
    const postgres = await start({ directory: join(directory, 'strict') });
    expect(await query(postgres, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('applies settings, and writes what PostgreSQL says to the log', async () => {
    const logPath = join(directory, 'other.log');
    const postgres = await start({ settings: { ...settings, work_mem: '1MB', logging_collector: 'on' }, logPath });
    expect(await query(postgres, 'show work_mem')).toEqual([{ work_mem: '1MB' }]);
    await postgres.stop();
    expect(await readFile(logPath, 'utf8')).toMatch(/ready to accept connections[^]*shut down/);
  });

  it('does away with data that were never finished', async () => {
    await mkdir(join(directory, 'data.new'));
    await writeFile(join(directory, 'data.new', 'PG_VERSION'), '18\n');
    expect((await start()).created).toBe(true);
  });

  it('runs a copy of the programs where npm has put them out of reach', async () => {
    const programs = await makeProgramsDirectory();
    const [home, installDirectory] = [join(programs, 'home'), join(programs, 'copies')];
    const library = join(home, 'native', 'lib');
    await mkdir(installDirectory);
    await cp(findPackage(), home, { recursive: true, verbatimSymlinks: true });
    for (const entry of await readdir(library, { withFileTypes: true })) {
      if (entry.isSymbolicLink()) await rm(join(library, entry.name));
    }
    await chmod(library, 0o555); // an ordinary user cannot make the links
    await chmod(home, 0o700); //    and whom root lets run PostgreSQL cannot enter
    try {
      await start({ packageDirectory: home, installDirectory });
      expect(await readdir(installDirectory)).toEqual([expect.stringMatching(/^postgresql-18\./)]);
    } finally {
      await chmod(library, 0o755);
      await rm(programs, { recursive: true });
    }
  });
});

describe('a start after a crash', () => {
  beforeAll(openDirectory);
  afterAll(removeDirectory);

  it('does not mind the lock file of a killed postmaster', async () => {
    const killed = await start();
    killed.process.kill('SIGKILL');
    await killed.exited;
    expect(await readFile(join(directory, 'data', 'postmaster.pid'), 'utf8')).toMatch(`${killed.process.pid}\n`);
    expect(await query(await start(), 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('does not mind a lock file with the number of a process that is none of ours, nor harm that one', async () => {
    const killed = await start();
    killed.process.kill('SIGKILL');
    await killed.exited;
    const data = join(directory, 'data');
    const { uid, gid } = await stat(data);
    const foreign = spawn(
      process.execPath,
      ['-e', 'process.stdin.resume()'],
      process.geteuid?.() === 0 ? { uid, gid } : {},
    );
    const lock = join(data, 'postmaster.pid');
    await writeFile(lock, (await readFile(lock, 'utf8')).replace(/^\d+/, String(foreign.pid)));
    expect(await query(await start(), 'select 1 as one')).toEqual([{ one: 1 }]);
    expect(foreign.signalCode).toBeNull();
    foreign.kill();
  });

  it('stops a postmaster that an ended process has left running', async () => {
    const left = await start();
    await writeFile(join(directory, 'owner.pid'), `${await endedPid()}\n`);
    const postgres = await start();
    await left.exited;
    expect(await query(postgres, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('finds no postmaster of a process that was killed: it goes along', async () => {
    const script = await compile();
    const options = {
      directory,
      installDirectory: process.env[PROGRAMS_VARIABLE],
      settings,
      packageDirectory: findPackage(),
    };
    const program = `
      import(${JSON.stringify(script)})
        .then(({ startEmbeddedPostgres }) => startEmbeddedPostgres(${JSON.stringify(options)}))
        .then((postgres) => console.log(postgres.process.pid));`;
    const owner = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [pid]: Buffer[] = await once(owner.stdout, 'data');
    const lock = join(directory, 'data', 'postmaster.pid');
    expect(await readFile(lock, 'utf8')).toMatch(String(pid));
    owner.kill('SIGKILL');
    await expect
      .poll(
        () =>
          stat(lock).then(
            () => true,
            () => false,
          ),
        { timeout: 10_000 },
      )
      .toBe(false);
    const logPath = join(directory, 'next.log');
    await start({ logPath });
    expect(await readFile(logPath, 'utf8')).not.toMatch(/not properly shut down/);
  });
});

describe('one clear line', () => {
  beforeAll(openDirectory);
  afterAll(removeDirectory);

  it('says that another process uses the data', async () => {
    await start();
    await expect(start()).rejects.toThrow(`the PostgreSQL in ${directory} is in use by process ${process.pid}`);
  });

  it('says that the data are of another major version', async () => {
    await (await start()).stop();
    await expect(start({ packageDirectory: findPackageOf15() })).rejects.toThrow(
      /was made by PostgreSQL 18, this is 15\./,
    );
  });

  it('says that the port is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await expect(start({ port })).rejects.toThrow(/could not bind.*: Address already in use \(see .*postgres\.log\)/);
    taken.close();
  });

  it('quotes PostgreSQL where a setting is wrong', async () => {
    await expect(start({ settings: { work_mem: 'much' } })).rejects.toThrow('invalid value for parameter "work_mem"');
  });

  it.each([
    ['#!/no/such/loader\n', /needs glibc/],
    ['#!/bin/sh\necho version GLIBC_2.99 not found >&2; exit 1\n', /does not run here: version GLIBC_2.99 not found/],
  ])('says why the programs do not run', async (text, line) => {
    const packageDirectory = await makeProgramsDirectory();
    const postgres = join(packageDirectory, 'native', 'bin', 'postgres');
    await mkdir(dirname(postgres), { recursive: true });
    await writeFile(postgres, text, { mode: 0o755 });
    await expect(start({ packageDirectory })).rejects.toThrow(line);
    await rm(packageDirectory, { recursive: true });
  });
});

/** Node 20 runs no TypeScript, and this process cannot kill itself to see what then becomes of its PostgreSQL. */
async function compile(): Promise<string> {
  const output = join(directory, 'compiled');
  await run('node_modules/.bin/tsc', ['-p', 'tsconfig.build.json', '--noCheck', '--outDir', output]).catch(() => {});
  await writeFile(join(output, 'package.json'), '{ "type": "module" }');
  return join(output, 'embedded-postgres.js');
}
