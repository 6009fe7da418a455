#!/usr/bin/env node
/** The program: arguments, signals, exit codes. Everything else is `pooler.ts`. */
import { setFlagsFromString } from 'node:v8';
import { createLogger } from './base/logger.ts';
import { ConfigError } from './config/config-error.ts';
import { type Demo, demoBanner, startDemo } from './demo.ts';
import { EmbeddedPostgresError } from './embedded-postgres-install.ts';
import { NodeEnvironment } from './net/node-environment.ts';
import { createPooler, type Pooler } from './pooler.ts';

const USAGE = `usage: tsbouncer [CONFIG]

CONFIG is a YAML file (see pgbouncer.example.yaml). Without one, tsbouncer starts a PostgreSQL of its own to try it on.
`;

/**
 * V8 answers a burst of logins with a larger young generation and never gives it back: 3 KB for each of 8,000 idle
 * clients, where the data path, which allocates little, gains nothing from it (`bench/README.md`).
 */
setFlagsFromString('--semi-space-growth-factor=1');

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(USAGE);
    return;
  }
  if (args.length > 1 || args[0]?.startsWith('-') === true) {
    process.stderr.write(USAGE);
    process.exitCode = 2;
    return;
  }
  const [path] = args;
  if (path === undefined) await runDemo();
  else handleSignals(await createPooler(path), null);
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
  process.on('SIGHUP', () => {
    try {
      pooler.reloadCertificates();
      pooler.log.info({}, 'certificates read again; other settings are not reloaded yet');
    } catch (error) {
      pooler.log.error({ error: explain(error) }, 'certificates cannot be used; the old ones stay');
    }
  });
  // Unheard, one of them would end the process, and the other would open Node's inspector.
  for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) {
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

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`tsbouncer: ${explain(error)}\n`);
  process.exit(1);
});
