/**
 * The load that pgbench cannot make (COPY, logins, thousands of idle clients), in a process of its own, so that its CPU
 * is not counted as anyone else's. It does one job at a time, as `load-job.ts` says.
 */
import type { LoadJob, LoadReply, LoadResult } from './load-job.ts';
import { copyDataMessages, RawClient } from './raw-client.ts';
import { quantile } from './statistics.ts';

const COPY_MESSAGE_BYTES = 8192;

const idle: RawClient[] = [];

async function doJob(job: LoadJob): Promise<LoadResult> {
  switch (job.kind) {
    case 'copy':
      return copy(job);
    case 'logins':
      return logIn(job, (client) => client.close());
    case 'open':
      return logIn(job, async (client) => {
        await client.query('SELECT 1');
        idle.push(client);
      });
    case 'close':
      return closeAll();
  }
}

async function copy(job: LoadJob & { kind: 'copy' }): Promise<LoadResult> {
  const data = copyDataMessages(copyRows(job.sendBytes), COPY_MESSAGE_BYTES);
  const clients = await Promise.all(Array.from({ length: job.clients }, () => RawClient.login(job.endpoint)));
  const latencies: number[] = [];
  const began = performance.now();
  const until = began + job.seconds * 1000;
  await Promise.all(
    clients.map(async (client) => {
      for (let now = began; now < until; ) {
        await (job.sendBytes > 0 ? client.copyIn(job.sql, data) : client.query(job.sql));
        const end = performance.now();
        latencies.push(end - now);
        now = end;
      }
    }),
  );
  const ended = performance.now();
  await Promise.all(clients.map((client) => client.close()));
  return summary(latencies, ended - began);
}

/** Rows of 100 bytes, two columns. */
function copyRows(bytes: number): Buffer {
  const rows: string[] = [];
  for (let row = 1; row <= bytes / 100; row++) rows.push(`${row}\t`.padEnd(99, 'x'));
  return Buffer.from(`${rows.join('\n')}\n`);
}

/** The latency is that of the login, without what happens `then`. */
async function logIn(
  { endpoint, count, concurrency }: LoadJob & { kind: 'logins' | 'open' },
  then: (client: RawClient) => Promise<void>,
): Promise<LoadResult> {
  const latencies: number[] = [];
  let left = count;
  const began = performance.now();
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left--;
      const start = performance.now();
      const client = await RawClient.login(endpoint);
      latencies.push(performance.now() - start);
      await then(client);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return summary(latencies, performance.now() - began);
}

async function closeAll(): Promise<LoadResult> {
  const clients = idle.splice(0);
  const lost = clients.filter((client) => client.isLost).length;
  if (lost > 0) throw new Error(`${lost} of ${clients.length} idle clients were disconnected`);
  const began = performance.now();
  await Promise.all(clients.map((client) => client.close()));
  return { count: clients.length, seconds: (performance.now() - began) / 1000, p50Ms: 0, p99Ms: 0 };
}

function summary(latencies: number[], milliseconds: number): LoadResult {
  const sorted = Float64Array.from(latencies).sort();
  return {
    count: sorted.length,
    seconds: milliseconds / 1000,
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
  };
}

function reply(message: LoadReply): void {
  process.send?.(message);
}

process.on('message', (job: LoadJob) => {
  doJob(job).then(
    (result) => reply({ ok: true, result }),
    (error: unknown) => reply({ ok: false, problem: error instanceof Error ? error.message : String(error) }),
  );
});
// Whoever wants the load is gone.
process.on('disconnect', () => process.exit(0));
