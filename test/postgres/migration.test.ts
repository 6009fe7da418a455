/**
 * What docs/operations.md ("Instead of a PgBouncer") tells a new user to do, done: a PgBouncer with its ini, its userlist and a load is stopped,
 * tsbouncer started on the same files, and everything that worked works, the load included.
 */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { Client } from 'pg';
import { beforeAll, expect } from 'vitest';
import { freePort, sharedFile, sharedFolder, startPgBouncer } from '../support/debian-pgbouncer.ts';
import { users } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { itWith, type Outcome, type SystemClient, SystemProcess } from '../support/system-clients.ts';
import { buildProgram, type RunningProgram, runProgram } from './pooler-process.ts';

const cluster = sharedCluster(18);
const { password } = users.alice;

beforeAll(async () => {
  await buildProgram();
});

/** The first line of its log with `words` in it. */
function logged(program: RunningProgram, words: string): Promise<string> {
  return new Promise((found, failed) => {
    createInterface({ input: program.process.stdout! }).on('line', (line) => {
      if (line.includes(words)) found(line);
    });
    void program.ended.then(() => failed(new Error(program.stderr())));
  });
}

/** Comes again and again, and learns by the end of its connection, or the lack of one, that it has to. */
class Load {
  readonly #port: number;
  #isOver = false;
  #answers = 0;
  #wishes: { readonly count: number; readonly fulfil: () => void }[] = [];
  readonly wrong: unknown[] = [];
  readonly #ended: Promise<void>;

  constructor(port: number) {
    this.#port = port;
    this.#ended = this.#run();
  }

  /** Resolves when `count` more questions were answered. */
  answers(count: number): Promise<void> {
    return new Promise((fulfil) => this.#wishes.push({ count: this.#answers + count, fulfil }));
  }

  end(): Promise<void> {
    this.#isOver = true;
    return this.#ended;
  }

  async #run(): Promise<void> {
    for (let token = 0; !this.#isOver; token++) {
      const client = new Client({ host: '127.0.0.1', port: this.#port, user: 'alice', password, database: 'app' });
      client.on('error', () => {});
      try {
        await client.connect();
        for (let i = 0; i < 5; i++) {
          const { rows } = await client.query<{ answer: string }>(`select '${token}.${i}' as answer`);
          if (rows[0]?.answer !== `${token}.${i}`) this.wrong.push(rows);
          this.#answers++;
          for (const { count, fulfil } of this.#wishes) if (this.#answers >= count) fulfil();
        }
        await client.end();
      } catch {
        await somebodyListens(this.#port);
      }
    }
  }
}

async function somebodyListens(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const isThere = await new Promise<boolean>((resolve) => {
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    });
    socket.destroy();
    if (isThere) return;
  }
}

function columns({ stdout }: Outcome): readonly string[] {
  return stdout.split('\n')[0]!.split('|');
}

itWith('pgbouncer')('a PgBouncer is replaced with its own files, on its own port', async () => {
  const database = await cluster.createDatabase();
  const port = await freePort();
  const folder = sharedFolder();
  const userList = sharedFile(folder, 'userlist.txt', `"alice" "${password}"\n`);
  const ini = sharedFile(
    folder,
    'pgbouncer.ini',
    `;; as Debian's, and a few lines of our own
[databases]
app = host=${cluster.host} port=${cluster.port} dbname=${database}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = md5
auth_file = ${userList}
admin_users = alice
pool_mode = transaction
default_pool_size = 3
server_reset_query = DISCARD ALL
ignore_startup_parameters = extra_float_digits
`,
  );
  const run = (program: SystemClient, ...argv: readonly string[]): Promise<Outcome> =>
    new SystemProcess(program, ['-h', '127.0.0.1', '-p', String(port), '-U', 'alice', ...argv], {
      PGPASSWORD: password,
    }).end();
  const bench = (): Promise<Outcome> => run('pgbench', '-n', '-S', '-c', '6', '-j', '2', '-t', '20', 'app');
  const showPools = (): Promise<Outcome> => run('psql', '-XA', 'pgbouncer', '-c', 'show pools');

  const before = await startPgBouncer(ini);
  expect(await run('pgbench', '-i', '-q', 'app')).toMatchObject({ code: 0 });
  const load = new Load(port);
  await load.answers(20);
  expect(await bench()).toMatchObject({ code: 0 });
  const theirPools = await showPools();
  before.process.kill('SIGTERM');
  await before.end();

  const after = await runProgram([ini]);
  await logged(after, 'process up');
  await load.answers(20);
  expect(await bench()).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('number of failed transactions: 0 '),
  });
  const ourPools = await showPools();
  expect(theirPools.stdout).toMatch(/^app\|alice\|/m);
  expect(ourPools.stdout).toMatch(/^app\|alice\|/m);
  // 1.18's, in its order; newer versions have more.
  const known = columns(theirPools);
  expect(columns(ourPools).filter((name) => known.includes(name))).toEqual(known);

  // Its signals, too: as the init script of PgBouncer reloads and stops it.
  const reloaded = logged(after, 'reloaded');
  after.process.kill('SIGHUP');
  await reloaded;
  await load.end();
  expect(load.wrong).toEqual([]);
  after.process.kill('SIGINT');
  expect(await after.ended).toEqual({ code: 0, signal: null });
});
