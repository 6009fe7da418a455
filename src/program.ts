/** The program: arguments, signals, exit codes. Everything else is `pooler.ts`. `main.ts` loads it. */
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
import { demoBanner, startDemo } from './demo.ts';
import { EmbeddedPostgresError } from './embedded-postgres-install.ts';
import { NodeEnvironment } from './net/node-environment.ts';
import { PidFile } from './pid-file.ts';
import { createPooler, Pooler, type PoolerOverrides, VERSION } from './pooler.ts';
import { exitWith, handleSignals } from './signals.ts';
import { StartError } from './start-error.ts';
import { becomeUser } from './system-user.ts';
import { inheritedSockets, Systemd } from './systemd.ts';

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
  if (config === null) {
    await runDemo();
  } else {
    await runPooler(config, {
      quiet: quiet || options.daemon,
      readConfig: () => (path === null ? config : loadConfig(path, { given })),
      sockets: inheritedSockets(process.env),
    });
  }
  if (isInBackground()) await reportFromBackground(null);
}

/** As in PgBouncer: whoever is in the background is found by its pid, and heard by its log. */
function daemonProblem(config: Config | null): string | null {
  if (config === null) return '-d needs a CONFIG, DATABASE_URL or PGHOST';
  const { pidfile, logfile, syslog } = config.settings;
  if (pidfile === null) return '-d needs the setting pidfile';
  return logfile !== null || syslog ? null : '-d needs one of the settings logfile and syslog';
}

async function runPooler(config: Config, overrides: PoolerOverrides): Promise<void> {
  const { pidfile, logfile, user } = config.settings;
  const pidFile = pidfile === null ? null : PidFile.take(pidfile);
  process.on('exit', () => pidFile?.release());
  const clock = new NodeEnvironment(noDial);
  let systemd: Systemd | null = null;
  const onReloading = (): Promise<void> => systemd?.reloading() ?? Promise.resolve();
  const onReload = (): void => void systemd?.ready('serving');
  const pooler = new Pooler(config, { ...overrides, onReloading, onReload });
  systemd = new Systemd(process.env, clock, pooler.log);
  // Before it says that it listens: from then on a signal must not end it by the system's own way.
  handleSignals({ pooler, systemd, onEnd: nothingMore });
  await pooler.start();
  exitWith(pooler, nothingMore);
  const files = [pidfile, logfile].filter((file) => file !== null);
  becomeUser(user, files, pooler.log);
  await systemd.ready('serving');
}

/** Nothing else has to end in order. */
function nothingMore(): Promise<void> {
  return Promise.resolve();
}

async function runDemo(): Promise<void> {
  const demo = await startDemo({ log: createLogger('warn'), environment: new NodeEnvironment(noDial) });
  try {
    const pooler = await createPooler(demo.config);
    const systemd = new Systemd({}, new NodeEnvironment(noDial), pooler.log);
    handleSignals({ pooler, systemd, onEnd: () => demo.stop() });
    exitWith(pooler, () => demo.stop());
    process.stdout.write(demoBanner(demo, { pooler: pooler.address, metrics: pooler.metricsAddress }));
  } catch (error) {
    await demo.stop();
    throw error;
  }
}

function noDial(): never {
  throw new Error('nothing is dialed before the pooler runs');
}

/** Those whose words are enough. */
const PLAIN_ERRORS = [ConfigError, EmbeddedPostgresError, StartError];

function explain(error: unknown): string {
  if (PLAIN_ERRORS.some((kind) => error instanceof kind)) return (error as Error).message;
  if (error instanceof Error && 'syscall' in error) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

main(process.argv.slice(2)).catch(async (error: unknown) => {
  const words = explain(error);
  if (isInBackground()) await reportFromBackground(words);
  else process.stderr.write(`tsbouncer: ${words}\n`);
  process.exit(1);
});
