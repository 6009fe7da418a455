/** node-postgres with named statements: one by one, in its pipeline, in transactions, and beside its cursors. */
import { createRequire } from 'node:module';
import { Client, type QueryResult, type Submittable } from 'pg';
import QueryStream from 'pg-query-stream';
import { expect, it, onTestFinished } from 'vitest';
import { driverTarget } from '../../support/driver-target.ts';
import { sharedCluster } from '../../support/shared-cluster.ts';
import { expectSharing } from './play.ts';

/** pg-cursor comes without types. */
interface Cursor extends Submittable {
  read(rows: number): Promise<unknown[]>;
  close(): Promise<void>;
}
type CursorConstructor = new (sql: string, values?: unknown[], config?: object) => Cursor;
const CursorOf = createRequire(import.meta.url)('pg-cursor') as CursorConstructor;

const cluster = sharedCluster(18);
const CLIENTS = 4;

interface Answer {
  readonly token: string;
  readonly pid: number;
  readonly named: boolean;
}

/** A client whose statements have the names of all others' and texts of its own. */
class Asker {
  readonly me: string;
  readonly client: Client;
  readonly pids = new Set<number>();
  readonly #own: string;

  constructor(me: string, client: Client) {
    this.me = me;
    this.client = client;
    this.#own = `select $1::text as token, pg_backend_pid() as pid, /* ${me} */ exists (select
      from pg_prepared_statements where not from_sql and statement like '%/* ${me} */%') as named`;
  }

  /** One named question with a token of its own, by a statement of which the server has to know. */
  async ask(n: number | string): Promise<void> {
    const token = `${this.me} ${n}`;
    this.answered(token, await this.client.query({ name: 'own', text: this.#own, values: [token] }));
  }

  answered(token: string, { rows }: QueryResult<Answer>): void {
    expect(rows).toEqual([{ token, pid: expect.any(Number), named: true }]);
    this.pids.add(rows[0]!.pid);
  }

  async number(name: string, text: string, values: unknown[]): Promise<unknown> {
    const { rows } = await this.client.query({ name, text, values, rowMode: 'array' });
    return (rows[0] as unknown[])[0];
  }

  insert(n: number): Promise<unknown> {
    return this.client.query({ name: 'insert', text: 'insert into items values ($1, $2)', values: [this.me, n] });
  }

  items(): Promise<unknown> {
    return this.number('items', 'select count(*)::int from items where owner = $1', [this.me]);
  }
}

/** `work` of all clients at once; the servers are shared. */
async function playAll(work: (asker: Asker) => Promise<void>, config: { pipeline?: boolean } = {}): Promise<void> {
  const target = await driverTarget(cluster);
  const askers = await Promise.all(
    Array.from({ length: CLIENTS }, async (_, i) => {
      const client = new Client({ connectionString: target.url, ...config });
      await client.connect();
      onTestFinished(() => client.end());
      return new Asker(`client${i}`, client);
    }),
  );
  await Promise.all(askers.map(work));
  expectSharing(
    target,
    askers.map(({ pids }) => pids),
  );
}

it.each([false, true])('prepares once and runs many times (pipeline: %s)', async (pipeline) => {
  await playAll(
    async (asker) => {
      for (let n = 0; n < 20; n++) {
        await asker.ask(n);
        expect(await asker.number('shared', 'select 2 * $1::int', [n])).toBe(2 * n);
      }
      const text = 'x'.repeat(300_000);
      const sql = `select length($1::text) + length('${text}')`;
      for (let n = 0; n < 3; n++) expect(await asker.number('long', sql, [text])).toBe(2 * text.length);
      // All sent before the first is answered, where the driver does that.
      await Promise.all(Array.from({ length: 100 }, (_, n) => asker.ask(`queued ${n}`)));
    },
    { pipeline },
  );
});

it.each([false, true])('prepares and runs after errors (pipeline: %s)', async (pipeline) => {
  await playAll(
    async (asker) => {
      for (let n = 0; n < 20; n++) {
        const name = `wrong ${n}`;
        await expect(asker.number(name, 'selekt $1', [n])).rejects.toMatchObject({ code: '42601' });
        await asker.ask(`syntax ${n}`);
        // The name is free: the statement that was to have it was never made.
        expect(await asker.number(name, 'select $1::int', [n])).toBe(n);
        const divided = asker.number('divide', 'select 100 / ($1::int - 5)', [n]);
        if (n === 5) await expect(divided).rejects.toMatchObject({ code: '22012' });
        else expect(await divided).toBe(Math.trunc(100 / (n - 5)));
        await expect(asker.number('divide', 'select 100 / ($1::int - 5)', ['x'])).rejects.toMatchObject({
          code: '22P02',
        });
      }
    },
    { pipeline },
  );
});

it('uses a statement in transactions and after ROLLBACK', async () => {
  await playAll(async (asker) => {
    const { client } = asker;
    for (let n = 0; n < 15; n++) {
      await client.query('begin');
      await asker.insert(n);
      await asker.ask(`within ${n}`);
      await client.query('commit');
      await asker.ask(`after commit ${n}`);

      await client.query('begin');
      await asker.insert(-1);
      expect(await asker.number(`within ${n}`, 'select $1::int', [n])).toBe(n);
      await client.query('rollback');
      expect(await asker.number(`within ${n}`, 'select $1::int', [n])).toBe(n);

      await client.query('begin');
      await asker.insert(-2);
      await expect(asker.number('zero', 'select 1 / $1::int', [0])).rejects.toMatchObject({ code: '22012' });
      await expect(asker.ask('nobody')).rejects.toMatchObject({ code: '25P02' });
      await client.query('rollback');
      await asker.ask(`after abort ${n}`);

      await client.query('begin; savepoint here');
      await asker.insert(-3);
      await expect(asker.number('zero', 'select 1 / $1::int', [0])).rejects.toMatchObject({ code: '22012' });
      await client.query('rollback to here');
      await asker.ask(`after savepoint ${n}`);
      await client.query('commit');
    }
    expect(await asker.items()).toBe(15);
  });
});

it('recovers from statements that fail in a pipeline', async () => {
  await playAll(
    async (asker) => {
      for (let n = 0; n < 10; n++) {
        const answers = Array.from({ length: 100 }, async (_, i) => {
          if (i % 7 === 3) {
            await expect(asker.number('zero', 'select 1 / $1::int', [0])).rejects.toMatchObject({ code: '22012' });
          } else if (i % 7 === 5) {
            const failed = asker.number(`wrong ${n} ${i}`, 'selekt $1', [0]);
            await expect(failed).rejects.toMatchObject({ code: '42601' });
          } else await asker.ask(`${n} ${i}`);
        });
        await Promise.all(answers);
      }
    },
    { pipeline: true },
  );
});

it('gives statements up and prepares again', async () => {
  await playAll(async (asker) => {
    const { client } = asker;
    // The driver remembers what it has prepared, and nothing makes it forget.
    const { parsedStatements } = (client as unknown as { connection: { parsedStatements: Record<string, string> } })
      .connection;
    for (let n = 0; n < 30; n++) {
      const again = (): Promise<unknown> => asker.number('same', `select ${n} + $1::int`, [1]);
      expect(await again()).toBe(n + 1);
      expect(await again()).toBe(n + 1);
      await asker.ask(n);
      delete parsedStatements['same'];
      await expect(again()).rejects.toMatchObject({ code: '42P05' });
      const isAll = n % 3 === 2;
      await client.query(isAll ? 'deallocate all' : 'deallocate same');
      parsedStatements['same'] = `select ${n} + $1::int`;
      await expect(again()).rejects.toMatchObject({ code: '26000' });
      if (isAll) for (const name of Object.keys(parsedStatements)) delete parsedStatements[name];
      else delete parsedStatements['same'];
    }
  });
});

it('reads through cursors and streams within transactions and without', async () => {
  await playAll(async (asker) => {
    const { client } = asker;
    const rows = 'select i, $1::text as token from generate_series(1, 50) i';
    for (let n = 0; n < 10; n++) {
      const token = `${asker.me} ${n}`;
      const expected = Array.from({ length: 50 }, (_, i) => ({ i: i + 1, token }));
      if (n % 2 === 0) await client.query('begin');
      const cursor = client.query(new CursorOf(rows, [token]));
      const found: unknown[] = [];
      for (let some = await cursor.read(7); some.length > 0; some = await cursor.read(7)) found.push(...some);
      expect(found).toEqual(expected);
      await asker.ask(`between ${n}`);
      const streamed: unknown[] = [];
      for await (const row of client.query(new QueryStream(rows, [token], { batchSize: 7 }))) streamed.push(row);
      expect(streamed).toEqual(expected);
      const early = client.query(new CursorOf(rows, [token]));
      expect(await early.read(3)).toEqual(expected.slice(0, 3));
      await early.close();
      if (n % 2 === 0) await client.query(n % 4 === 0 ? 'commit' : 'rollback');
      await asker.ask(n);
    }
  });
});
