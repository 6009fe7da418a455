/** Starting and stopping the whole pooler on real sockets, without a PostgreSQL. */
import { onTestFinished, test } from 'vitest';
import { createPooler, type Pooler } from '../../src/pooler.ts';
import { TcpClient } from '../support/corpus/tcp-client.ts';
import { RecordingLogger } from '../support/recording-logger.ts';

async function start(settings: Readonly<Record<string, unknown>>): Promise<Pooler> {
  const pooler = await createPooler(
    { pgbouncer: { listen_port: 0, ...settings }, databases: { app: 'host=127.0.0.1 port=1' } },
    { log: new RecordingLogger() },
  );
  onTestFinished(() => pooler.close({ timeoutMs: 0 }));
  return pooler;
}

test('shutdown_timeout ends the wait for clients', async () => {
  const pooler = await start({ shutdown_timeout: 0.1 });
  const silent = await TcpClient.connect(pooler.address);
  await pooler.waitForClients();
  await silent.rest();
  await silent.drop();
});
