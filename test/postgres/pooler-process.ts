/** The real program as a process of its own, for what cannot be seen from inside: its memory, its descriptors, its end. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import { TcpClient } from '../support/corpus/tcp-client.ts';
import { configurationOf, type PoolerOptions } from '../support/pooler-fixture.ts';

const checkout = resolve(import.meta.dirname, '../..');
let build: Promise<string> | null = null;

/** Compiles `src` for this process alone, so that neither an old build nor another test is in the way. */
export function buildProgram(): Promise<string> {
  build ??= compile();
  return build;
}

async function compile(): Promise<string> {
  // Below node_modules, where the program finds its packages.
  const folder = join(checkout, 'node_modules', '.cache', `tsbouncer-test-${process.pid}`);
  const program = join(folder, 'dist', 'main.js');
  mkdirSync(folder, { recursive: true });
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  copyFileSync(join(checkout, 'package.json'), join(folder, 'package.json'));
  const tsc = join(checkout, 'node_modules', '.bin', 'tsc');
  const argv = ['-p', join(checkout, 'tsconfig.build.json'), '--outDir', dirname(program), '--declaration', 'false'];
  await promisify(execFile)(tsc, argv).catch((error: { stdout?: string }) => {
    // Types are checked elsewhere; what counts here is that there is a program.
    if (!existsSync(program)) throw new Error(`the build failed: ${error.stdout ?? ''}`);
  });
  return program;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RunningProgram {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly stderr: () => string;
}

export interface ProgramSetup {
  readonly variables?: Readonly<Record<string, string>>;
  /** A descriptor that it is to listen on, as from systemd; then it waits for a line on its standard input first. */
  readonly socket?: number | null;
}

/** Starts `main.js` with `argv`, killed with the test if it still runs then. */
export async function runProgram(
  argv: readonly string[],
  descriptorLimit = 0,
  { variables = {}, socket = null }: ProgramSetup = {},
): Promise<RunningProgram> {
  const command = [process.execPath, await buildProgram(), ...argv];
  const activated = ['sh', '-c', 'read go && LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', 'sh', ...command];
  const limited = ['sh', '-c', `ulimit -n ${descriptorLimit} && exec "$@"`, 'sh', ...command];
  const [program = '', ...rest] = descriptorLimit > 0 ? limited : socket === null ? command : activated;
  const child = spawn(program, rest, {
    stdio: socket === null ? ['ignore', 'pipe', 'pipe'] : ['pipe', 'pipe', 'pipe', socket],
    env: { ...inherited(), ...variables },
  });
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<Ended>((done) => {
    child.on('close', (code, signal) => done({ code, signal }));
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { process: child, ended, stderr: () => stderr };
}

/** The tests' own variables look like settings. */
function inherited(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TSBOUNCER_')));
}

/** Starts the program with a file of `options` and waits until it listens. */
export async function poolerProcess(
  options: PoolerOptions,
  descriptorLimit = 0,
  setup: ProgramSetup = {},
): Promise<PoolerProcess> {
  const database = options.databaseName ?? (await options.cluster.createDatabase());
  const folder = mkdtempSync(join(tmpdir(), 'tsbouncer-process-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'tsbouncer.yaml');
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(configurationOf(options, database)));
  const program = await runProgram([file], descriptorLimit, setup);
  program.process.stdin?.end('go\n');
  const log: string[] = [];
  const address = new Promise<string>((found, failed) => {
    if (program.process.stdout === null) return;
    createInterface({ input: program.process.stdout }).on('line', (line) => {
      log.push(line);
      const { msg, addresses } = JSON.parse(line) as { msg?: string; addresses?: string[] };
      if (msg === 'listening') found(addresses?.[0] ?? '');
    });
    void program.ended.then(({ code }) => failed(new Error(`the program ended with ${code}: ${program.stderr()}`)));
  });
  const [host = '', port] = (await address).split(':');
  return new PoolerProcess(program, { host, port: Number(port), database, log, file });
}

interface Where {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly log: readonly string[];
  readonly file: string;
}

export class PoolerProcess {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  /** Lines of its log, as JSON. */
  readonly log: readonly string[];
  /** Its configuration. */
  readonly file: string;
  readonly ended: Promise<Ended>;
  readonly #program: RunningProgram;

  constructor(program: RunningProgram, where: Where) {
    this.#program = program;
    this.host = where.host;
    this.port = where.port;
    this.database = where.database;
    this.log = where.log;
    this.file = where.file;
    this.ended = program.ended;
  }

  get hasEnded(): boolean {
    return this.#program.process.exitCode !== null || this.#program.process.signalCode !== null;
  }

  /** What it has written to standard error. */
  get stderr(): string {
    return this.#program.stderr();
  }

  async raw(): Promise<TcpClient> {
    return TcpClient.login(this, { user: 'dave', database: this.database });
  }

  get pid(): number {
    return this.#program.process.pid ?? 0;
  }

  signal(name: NodeJS.Signals): void {
    this.#program.process.kill(name);
  }

  /** Resident memory, in bytes. */
  get residentBytes(): number {
    const status = readFileSync(`/proc/${this.#program.process.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  /** The most that was resident since the start or the last `forgetPeak`. */
  get peakBytes(): number {
    const status = readFileSync(`/proc/${this.#program.process.pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  forgetPeak(): void {
    writeFileSync(`/proc/${this.#program.process.pid}/clear_refs`, '5');
  }

  /** Processor time so far, in milliseconds. */
  get cpuMs(): number {
    const fields = readFileSync(`/proc/${this.#program.process.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  get descriptorCount(): number {
    return readdirSync(`/proc/${this.#program.process.pid}/fd`).length;
  }
}
