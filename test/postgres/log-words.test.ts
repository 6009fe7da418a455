/**
 * The log of a `pgbouncer.ini`, beside that of Debian's PgBouncer 1.18 for the same doings: what people search for and
 * have alarms on is found in both.
 */
import { createInterface } from 'node:readline';
import { beforeAll, expect } from 'vitest';
import { freePort, sharedFile, sharedFolder, startPgBouncer } from '../support/debian-pgbouncer.ts';
import { users } from '../support/postgres-cluster.ts';
import { sharedCluster } from '../support/shared-cluster.ts';
import { itWith, SystemProcess } from '../support/system-clients.ts';
import { buildProgram, runProgram } from './pooler-process.ts';

const cluster = sharedCluster(18);
const { password } = users.alice;

beforeAll(async () => {
  await buildProgram();
});

/** What differs from run to run: time and process, handle, ports, ages, values of the statistics. */
function plain(line: string, port: number): string {
  return line
    .replace(/^[\d-]+ [\d:.]+ UTC \[\d+\] /, '')
    .replace(/-0x[0-9a-f]+: /, '-0x: ')
    .replaceAll(`:${port}`, ':PORT')
    .replace(/@127\.0\.0\.1:\d+ /, '@127.0.0.1:N ')
    .replace(/from 127\.0\.0\.1:\d+/, 'from 127.0.0.1:N')
    .replace(/age=\d+s/, 'age=Ns')
    .replaceAll(/(?<=^LOG stats: .*)\d+/g, 'N');
}

/** 1.18's lines of what is done below. Those that we do not write yet are not among them (docs/open.md). */
const LINES = [
  'LOG listening on 127.0.0.1:PORT',
  'LOG C-0x: app/alice@127.0.0.1:N login attempt: db=app user=alice tls=no',
  'LOG S-0x: app/alice@127.0.0.1:N new connection to server (from 127.0.0.1:N)',
  'LOG C-0x: app/alice@127.0.0.1:N closing because: client close request (age=Ns)',
  'LOG C-0x: (nodb)/alice@127.0.0.1:N login failed: db=nowhere user=alice',
  'WARNING C-0x: app/alice@127.0.0.1:N pooler error: password authentication failed',
  'LOG C-0x: pgbouncer/alice@127.0.0.1:N closing because: client close request (age=Ns)',
  'LOG RELOAD command issued',
  "LOG PAUSE 'app' command issued",
  'LOG stats: N xacts/s, N queries/s, in N B/s, out N B/s, xact N us, query N us, wait N us',
  'LOG got SIGHUP, re-reading config',
];

/** Of the same line: what we write instead. */
const OURS: Readonly<Record<string, string>> = {
  'LOG C-0x: (nodb)/alice@127.0.0.1:N login failed: db=nowhere user=alice':
    'WARNING C-0x: nowhere/alice@127.0.0.1:N pooler error: no such database: nowhere',
  'LOG RELOAD command issued': 'LOG RELOAD command issued user=alice',
  "LOG PAUSE 'app' command issued": "LOG PAUSE 'app' command issued user=alice",
};

async function asPeopleDo(port: number): Promise<void> {
  const run = async (database: string, secret: string, ...commands: readonly string[]): Promise<void> => {
    const argv = [
      '-h',
      '127.0.0.1',
      '-p',
      String(port),
      '-U',
      'alice',
      '-X',
      ...commands.flatMap((each) => ['-c', each]),
    ];
    await new SystemProcess('psql', [...argv, database], { PGPASSWORD: secret }).end();
  };
  await run('app', password, 'select 1');
  await run('app', 'wrong', 'select 1');
  await run('nowhere', password, 'select 1');
  await run('pgbouncer', password, 'reload', 'pause app', 'resume app');
}

itWith('pgbouncer')('has PgBouncer’s words', async () => {
  const database = await cluster.createDatabase();
  const port = await freePort();
  const folder = sharedFolder();
  const userList = sharedFile(folder, 'userlist.txt', `"alice" "${password}"\n`);
  const ini = sharedFile(
    folder,
    'pgbouncer.ini',
    `[databases]
app = host=${cluster.host} port=${cluster.port} dbname=${database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = md5
auth_file = ${userList}
admin_users = alice
stats_period = 1
`,
  );
  const bouncer = await startPgBouncer(ini);
  await asPeopleDo(port);
  bouncer.process.kill('SIGHUP');
  await bouncer.complains('got SIGHUP');
  await bouncer.complains('stats: ');
  bouncer.process.kill('SIGTERM');
  const theirs = new Set((await bouncer.end()).stderr.split('\n').map((line) => plain(line, port)));
  expect(LINES.filter((line) => !theirs.has(line))).toEqual([]);

  const program = await runProgram([ini]);
  const ours: string[] = [];
  const wishes: { readonly words: string; readonly fulfil: () => void }[] = [];
  createInterface({ input: program.process.stdout! }).on('line', (line) => {
    ours.push(plain(line, port));
    for (const { words, fulfil } of wishes) if (line.includes(words)) fulfil();
  });
  const logged = (words: string): Promise<void> => new Promise((fulfil) => wishes.push({ words, fulfil }));
  await logged('process up');
  const statistics = logged('stats: ');
  await asPeopleDo(port);
  const reloaded = logged('got SIGHUP');
  program.process.kill('SIGHUP');
  await Promise.all([reloaded, statistics]);
  program.process.kill('SIGQUIT');
  await program.ended;
  expect(LINES.map((line) => OURS[line] ?? line).filter((line) => !ours.includes(line))).toEqual([]);
});
