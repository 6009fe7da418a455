/** A change of the schema under prepared statements: what clients see of "cached plan must not change result type". */
import { describe, expect, it } from 'vitest';
import * as bytes from '../support/corpus/client-bytes.ts';
import { outcome, type TcpClient } from '../support/corpus/tcp-client.ts';
import { pooler } from '../support/pooler-fixture.ts';
import { sharedCluster } from '../support/shared-cluster.ts';

const SELECT = 'select * from changing';
const { parse, bind, execute, sync } = bytes;
/** As pgbench -M prepared asks. */
const batch = [bind({ statement: 's' }), bytes.describe('P'), execute(), sync];

async function ask(client: TcpClient, ...messages: readonly Buffer[]) {
  client.send(Buffer.concat(messages));
  const { rows, sqlstate } = outcome(await client.take('Z'));
  return sqlstate ?? rows;
}

describe.each([15, 18] as const)('PostgreSQL %i', (version) => {
  const cluster = sharedCluster(version);

  it('serves the named statements of node-postgres as if nothing had happened', async () => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1 });
    const [one, two] = [await pool.client(), await pool.client()];
    await one.query('create table changing (a int)');
    await one.query('insert into changing values (1)');
    const named = { name: 'n', text: SELECT };
    expect((await one.query(named)).rows).toEqual([{ a: 1 }]);
    await two.query('alter table changing add column b int default 2');
    expect((await one.query(named)).rows).toEqual([{ a: 1, b: 2 }]);
    await two.query('alter table changing add column c int default 3');
    // Its first use: the pooler has answered its Parse.
    expect((await two.query(named)).rows).toEqual([{ a: 1, b: 2, c: 3 }]);
    expect((await one.query(named)).rows).toEqual([{ a: 1, b: 2, c: 3 }]);
    await one.query('alter table changing drop column b');
    expect((await one.query(named)).rows).toEqual([{ a: 1, c: 3 }]);
  });

  it('is repeated for whole batches outside of transactions, and for nothing else', async () => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1 });
    const [one, two] = [await pool.raw(), await pool.raw()];
    await two.query('create table changing (a int); insert into changing values (1)');
    expect(await ask(one, parse(SELECT, 's'), ...batch)).toEqual([['1']]);
    await two.query('alter table changing add column b int default 2');
    expect(await ask(one, ...batch)).toEqual([['1', '2']]);
    await two.query('alter table changing add column c int default 3');
    expect(await ask(one, bind({ statement: 's' }), execute(), sync)).toBe('0A000');
    expect(await ask(one, bind({ statement: 's' }), execute(), sync)).toEqual([['1', '2', '3']]);
    await two.query('alter table changing add column d int default 4');
    await one.query('begin');
    expect(await ask(one, ...batch)).toBe('0A000');
    await one.query('rollback');
    expect(await ask(one, ...batch)).toEqual([['1', '2', '3', '4']]);
  });

  it('runs what stands behind the statement once', async () => {
    const pool = await pooler({ cluster, pool_mode: 'transaction', pool_size: 1 });
    const [one, two] = [await pool.raw(), await pool.raw()];
    await two.query('create table changing (a int); create table written (a int)');
    await ask(one, parse(SELECT, 's'), parse('insert into written values (1)', 'w'), ...batch);
    await two.query('alter table changing add column b int');
    expect(await ask(one, ...batch.slice(0, 3), bind({ statement: 'w' }), execute(), sync)).toEqual([]);
    expect((await two.query('select count(*) from written')).rows).toEqual([['1']]);
  });
});
