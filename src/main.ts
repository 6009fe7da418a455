#!/usr/bin/env node
/** The program: arguments, signals, exit codes. Everything else is `pooler.ts`. */
import { setFlagsFromString } from 'node:v8';
import { createLogger } from './base/logger.ts';
import { checkFile } from './check-command.ts';
import { parseCommandLine, type RunOptions, USAGE } from './command-line.ts';
import type { Config } from './config/config.ts';
import { ConfigError } from './config/config-error.ts';
import { configFromEnvironment } from './config/environment-config.ts';
import { settingFromCommandLine, settingsFromEnvironment } from './config/given-settings.ts';
import { loadConfig } from './config/load-config.ts';
import { writeYaml } from './config/write-yaml.ts';
import { isInBackground, reportFromBackground, runInBackground } from './daemon.ts';
import { type Demo, demoBanner, startDemo } from './demo.ts';
import { EmbeddedPostgresError } from './embedded-postgres-install.ts';
import { NodeEnvironment } from './net/node-environment.ts';
import { createPooler, type Pooler, startPooler, VERSION } from './pooler.ts';

/**
 * V8 answers a burst of logins with a larger young generation and never gives it back: 3 KB for each of 8,000 idle
 * clients, where the data path, which allocates little, gains nothing from it (`bench/README.md`).
 */
setFlagsFromString('--semi-space-growth-factor=1');

async function main(args: readonly string[]): Promise<void> {
  const line = parseCommandLine(args);
  switch (line.command) {
    case 'help':
      process.stdout.write(USAGE);
      return;
    case 'version':
      process.stdout.write(
        `tsbouncer ${VERSION}\nNode.js ${process.versions.node}\nOpenSSL ${process.versions.openssl}\n`,
      );
      return;
    case 'wrong':
      process.stderr.write(`tsbouncer: ${line.problem}\n\n${USAGE}`);
      process.exitCode = 2;
      return;
    case 'convert':
      convert(line.path);
      return;
    case 'check': {
      const { lines, isFine } = await checkFile(line.path);
      process.stdout.write(`${lines.join('\n')}\n`);
      process.exitCode = isFine ? 0 : 1;
      return;
    }
    case 'run':
      await run(line, args);
  }
}

function convert(path: string): void {
  const { text, hasSecrets } = writeYaml(loadConfig(path), path);
  if (hasSecrets) process.stderr.write('tsbouncer: the YAML holds passwords, as the file does: keep it as secret\n');
  process.stdout.write(text);
}

async function run(options: RunOptions, args: readonly string[]): Promise<void> {
  const { path, quiet, verbose, user } = options;
  const given = [...settingsFromEnvironment(process.env)];
  if (verbose > 0) given.push(settingFromCommandLine('-v', 'verbose', String(verbose)));
  if (user !== null) given.push(settingFromCommandLine('-u', 'user', user));
  const config = path === null ? configFromEnvironment(process.env, given) : loadConfig(path, { given });
  if (options.daemon && !isInBackground()) {
    const problem = daemonProblem(config) ?? (await runInBackground(process.argv[1]!, args));
    if (problem === null) return;
    process.stderr.write(`tsbouncer: ${problem}\n`);
    process.exitCode = 1;
    return;
  }
  if (config === null) await runDemo();
  else handleSignals(await startPooler(config, { quiet: quiet || options.daemon }), null);
  if (isInBackground()) await reportFromBackground(null);
}

/** As in PgBouncer: whoever is in the background is found by its pid, and heard by its log. */
function daemonProblem(config: Config | null): string | null {
  if (config === null) return '-d needs a CONFIG, DATABASE_URL or PGHOST';
  const settings = new Map<string, unknown>(Object.entries(config.settings));
  if ((settings.get('pidfile') ?? null) === null) return '-d needs the setting pidfile';
  const hasLog = (settings.get('logfile') ?? null) !== null || settings.get('syslog') === true;
  return hasLog ? null : '-d needs one of the settings logfile and syslog';
}

async function runDemo(): Promise<void> {
  const demo = await startDemo({ log: createLogger('warn'), environment: new NodeEnvironment(noDial) });
  try {
    const pooler = await createPooler(demo.config);
    handleSignals(pooler, demo);
    process.stdout.write(demoBanner(demo, { pooler: pooler.address, metrics: pooler.metricsAddress }));
  } catch (error) {
    await demo.stop();
    throw error;
  }
}

/** PgBouncer's meanings. A second SIGTERM or SIGINT ends at once. */
function handleSignals(pooler: Pooler, demo: Demo | null): void {
  let leaving = false;
  const leave = (how: () => Promise<void>): void => {
    const done = leaving ? pooler.close({ timeoutMs: 0 }) : how();
    leaving = true;
    void done.then(() => demo?.stop()).then(() => process.exit(0));
  };
  process.on('SIGTERM', () => leave(() => pooler.waitForClients()));
  process.on('SIGINT', () => leave(() => pooler.waitForServers()));
  process.on('SIGQUIT', () => {
    // Immediately: the sockets go with the process. PostgreSQL of our own is shut down in order all the same.
    void (demo?.stop() ?? Promise.resolve()).then(() => process.exit(0));
  });
  // Unheard, two of them would end the process, and the third would open Node's inspector.
  for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
    process.on(signal, () => pooler.log.warn({ signal }, `${signal} is not supported yet`));
  }
}

function noDial(): never {
  throw new Error('nothing is dialed before the pooler runs');
}

function explain(error: unknown): string {
  if (error instanceof ConfigError || error instanceof EmbeddedPostgresError) return error.message;
  if (error instanceof Error && 'syscall' in error) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

main(process.argv.slice(2)).catch(async (error: unknown) => {
  const words = explain(error);
  if (isInBackground()) await reportFromBackground(words);
  else process.stderr.write(`tsbouncer: ${words}\n`);
  process.exit(1);
});
