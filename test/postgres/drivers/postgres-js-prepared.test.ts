/** postgres.js as it is by default, with prepared statements and pipelines of 100; and with `prepare: false` beside it. */
import postgres, { type ISql, type Options, type Sql } from 'postgres';
import { expect, it, onTestFinished } from 'vitest';
import { driverTarget } from '../../support/driver-target.ts';
import { sharedCluster } from '../../support/shared-cluster.ts';
import { expectSharing } from './play.ts';

const cluster = sharedCluster(18);
const CLIENTS = 4;

interface Answer {
  readonly token: string;
  readonly pid: number;
  readonly named: boolean;
}

class Asker {
  readonly me: string;
  readonly sql: Sql;
  readonly pids = new Set<number>();
  readonly #isPrepared: boolean;

  constructor(me: string, sql: Sql, isPrepared: boolean) {
    this.me = me;
    this.sql = sql;
    this.#isPrepared = isPrepared;
  }

  /**
   * One question with a token of its own; by a named statement, if that is how the driver is used. Its answer is the
   * first one: the driver hides that a statement was not there by repeating it.
   */
  async ask(n: number | string, sql: ISql = this.sql): Promise<void> {
    expect(await this.isRepeated(n, sql)).toBe(false);
  }

  async isRepeated(n: number | string, sql: ISql = this.sql): Promise<boolean> {
    const token = `${this.me} ${n}`;
    const question = sql<Answer[]>`
      select ${token}::text as token, pg_backend_pid() as pid, /* own question */ exists (select
        from pg_prepared_statements where not from_sql and statement like '%/* own question */%') as named`;
    const rows = await question;
    const named = this.#isPrepared ? true : expect.any(Boolean);
    expect([...rows]).toEqual([{ token, pid: expect.any(Number), named }]);
    this.pids.add(rows[0]!.pid);
    return 'retried' in question && question.retried instanceof Error;
  }

  async items(): Promise<unknown> {
    const [row] = await this.sql`select count(*)::int as n from items where owner = ${this.me}`;
    return row?.['n'];
  }
}

type DriverOptions = Options<Record<string, never>>;

/** `work` of all clients at once, each with one connection; the servers are shared. */
async function playAll(work: (asker: Asker) => Promise<void>, options: DriverOptions = {}): Promise<void> {
  const target = await driverTarget(cluster);
  const askers = Array.from({ length: CLIENTS }, (_, i) => {
    const sql = postgres(target.url, { max: 1, onnotice: () => {}, ...options });
    return new Asker(`client${i}`, sql, options.prepare !== false);
  });
  onTestFinished(async () => {
    await Promise.all(askers.map(({ sql }) => sql.end({ timeout: 5 })));
  });
  await Promise.all(askers.map(work));
  expectSharing(
    target,
    askers.map(({ pids }) => pids),
  );
}

const both = [true, false];

it.each(both)('prepares once and runs many times (prepare: %s)', async (prepare) => {
  await playAll(
    async (asker) => {
      const { sql } = asker;
      for (let n = 0; n < 20; n++) {
        await asker.ask(n);
        const [row] = await sql`select ${n}::int * 2 as double`;
        expect(row).toEqual({ double: 2 * n });
      }
      const text = 'x'.repeat(300_000);
      for (let n = 0; n < 3; n++) {
        const [row] = await sql.unsafe(`select length($1) + length('${text}') as n`, [text], { prepare });
        expect(row).toEqual({ n: 2 * text.length });
      }
    },
    { prepare },
  );
});

it.each(both)('sends pipelines of 100, and recovers from what fails in them (prepare: %s)', async (prepare) => {
  await playAll(
    async (asker) => {
      const { sql } = asker;
      for (let n = 0; n < 3; n++) {
        const answers = Array.from({ length: 200 }, async (_, i) => {
          if (i % 50 === 20) {
            await expect(sql`select 1 / ${0}::int`).rejects.toMatchObject({ code: '22012' });
          } else if (i % 50 === 30) {
            await expect(sql`selekt ${i}`).rejects.toMatchObject({ code: '42601' });
          } else if (i % 50 === 40) {
            await expect(sql`select * from nowhere where ${n} = ${i}`).rejects.toMatchObject({ code: '42P01' });
          } else await asker.ask(`${n} ${i}`);
        });
        await Promise.all(answers);
      }
    },
    { prepare },
  );
});

it('prepares and runs after errors', async () => {
  await playAll(async (asker) => {
    const { sql } = asker;
    const missing = `select a from missing_${asker.me} where $1`;
    for (let n = 0; n < 20; n++) {
      await expect(sql`selekt ${n}`).rejects.toMatchObject({ code: '42601' });
      await asker.ask(`syntax ${n}`);
      const divided = sql`select 100 / (${n}::int - 5) as n`;
      if (n === 5) await expect(divided).rejects.toMatchObject({ code: '22012' });
      else expect([...(await divided)]).toEqual([{ n: Math.trunc(100 / (n - 5)) }]);
      await expect(sql.unsafe(missing, [true], { prepare: true })).rejects.toMatchObject({ code: '42P01' });
      await asker.ask(`missing ${n}`);
    }
    await sql.unsafe(`create table missing_${asker.me} as select 7 as a`);
    expect([...(await sql.unsafe(missing, [true], { prepare: true }))]).toEqual([{ a: 7 }]);
  });
});

it('uses a statement in transactions and after ROLLBACK', async () => {
  await playAll(async (asker) => {
    const { me, sql } = asker;
    for (let n = 0; n < 15; n++) {
      await sql.begin(async (within) => {
        await within`insert into items values (${me}, ${n})`;
        await asker.ask(`within ${n}`, within);
        const failed = within.savepoint(async (deeper) => {
          await deeper`insert into items values (${me}, -1)`;
          await deeper`select 1 / ${0}::int`;
        });
        await expect(failed).rejects.toMatchObject({ code: '22012' });
        await asker.ask(`after savepoint ${n}`, within);
      });
      await asker.ask(`after commit ${n}`);
      const rolledBack = sql.begin(async (within) => {
        await within`insert into items values (${me}, -2)`;
        // Prepared in a transaction that is rolled back, and used after it.
        expect([...(await within.unsafe(`select ${n} + $1::int as n`, [n], { prepare: true }))]).toEqual([
          { n: 2 * n },
        ]);
        await within`select 1 / ${0}::int`.catch(() => {});
        await asker.ask('nobody', within);
      });
      await expect(rolledBack).rejects.toMatchObject({ code: '22012' });
      expect([...(await sql.unsafe(`select ${n} + $1::int as n`, [n], { prepare: true }))]).toEqual([{ n: 2 * n }]);
      await asker.ask(`after rollback ${n}`);
    }
    expect(await asker.items()).toBe(15);
  });
});

it('prepares again what somebody has given up in SQL', async () => {
  await playAll(async (asker) => {
    for (let n = 0; n < 20; n++) {
      await asker.ask(n);
      // The driver tells by the error's routine that its statement is gone, prepares it again and repeats it.
      await asker.sql.unsafe('deallocate all');
      expect(await asker.isRepeated(`after ${n}`)).toBe(true);
    }
  });
});

it('reads through cursors within transactions and without', async () => {
  await playAll(async (asker) => {
    const { sql } = asker;
    for (let n = 0; n < 10; n++) {
      const token = `${asker.me} ${n}`;
      const read = async (within: ISql): Promise<void> => {
        const found: unknown[] = [];
        const rows = within`select i, ${token}::text as token from generate_series(1, 50) i`;
        for await (const some of rows.cursor(7)) found.push(...some);
        expect(found).toEqual(Array.from({ length: 50 }, (_, i) => ({ i: i + 1, token })));
        await asker.ask(`between ${n}`, within);
      };
      await read(sql);
      await sql.begin(read);
      await asker.ask(n);
    }
  });
});
