"""asyncpg as applications use it. `driver-programs.ts` says how this is called and what it has to answer."""
import asyncio
import json
import sys

import asyncpg
from asyncpg import exceptions

case, me = sys.argv[1:]
pids = set()
answers = 0


def check(got, want):
    global answers
    if got != want:
        raise AssertionError(f"{case}, answer {answers}: got {got!r} instead of {want!r}")
    answers += 1


async def fails(error, awaitable):
    try:
        await awaitable
    except error:
        check(True, True)
    else:
        raise AssertionError(f"{case}, answer {answers}: no {error.__name__}")


# The comment makes one text that is the client's own: many clients give one name to different statements.
OWN = f"""select $1::text, pg_backend_pid(), /* {me} */
    exists (select from pg_prepared_statements where not from_sql and statement like '%/* {me} */%')"""
SHARED = "select $1::text, pg_backend_pid(), true"


async def ask(connection, n, sql=OWN, named=True):
    """One question with a token of its own; `named` is whether a named statement of that text has to be there."""
    token = f"{me} {n}"
    answer(await connection.fetchrow(sql, token), token, named)


def answer(row, token, named=True):
    got, pid, is_named = row
    pids.add(pid)
    check(got, token)
    if named:
        check(is_named, True)


async def items(connection, where="true"):
    return await connection.fetchval(f"select count(*) from items where owner = $1 and {where}", me)


async def insert(connection, n):
    await connection.execute("insert into items values ($1, $2)", me, n)


async def many(connection):
    prepared = await connection.prepare(OWN)
    by_name = await connection.prepare(SHARED, name="same")
    for n in range(40):
        await ask(connection, n)
        await ask(connection, f"shared {n}", SHARED)
        answer(await prepared.fetchrow(f"{me} {n}"), f"{me} {n}")
        answer(await by_name.fetchrow(f"{me} {n}"), f"{me} {n}")
        check(await connection.fetchval("select $1::int + $2::numeric", n, n), 2 * n)
        # Types that are unknown to the driver make it ask for them first.
        check(await connection.fetchval("select $1::int4range[]", []), [])
    check([column.type.name for column in prepared.get_attributes()], ["text", "int4", "bool"])
    for length in (100_000, 1_000_000):
        text = "x" * length
        sql = f"select length($1::text), length('{text}'), right($2::text, 3)"
        for _ in range(3):
            check(tuple(await connection.fetchrow(sql, text, me + "end")), (length, length, "end"))


async def error(connection):
    divide = "select 100 / ($1::int - 5)"
    missing = f"select a from missing_{me}"
    for n in range(20):
        await fails(exceptions.PostgresSyntaxError, connection.fetch("selekt $1::text", me))
        await ask(connection, f"syntax {n}")
        if n == 5:
            await fails(exceptions.DivisionByZeroError, connection.fetch(divide, n))
        else:
            check(await connection.fetchval(divide, n), int(100 / (n - 5)))
        await fails(exceptions.UndefinedTableError, connection.fetch(missing))
        await fails(exceptions.InvalidTextRepresentationError, connection.fetch("select $1::text::int", "seven"))
        await fails(exceptions.DataError, connection.fetch("select $1::int", "not a number"))
        await ask(connection, f"missing {n}")
    await connection.execute(f"create table missing_{me} as select 7 as a")
    for _ in range(5):
        check(await connection.fetchval(missing), 7)


async def transaction(connection):
    for n in range(15):
        async with connection.transaction():
            await insert(connection, n)
            await ask(connection, f"within {n}")
        await ask(connection, f"after commit {n}")

        rolled_back = connection.transaction()
        await rolled_back.start()
        await insert(connection, -1)
        # Prepared in a transaction that is rolled back, and used after it.
        statement = await connection.prepare(f"select {n} + $1::int")
        check(await statement.fetchval(n), 2 * n)
        await rolled_back.rollback()
        check(await statement.fetchval(n), 2 * n)
        await ask(connection, f"after rollback {n}")

        aborted = connection.transaction()
        await aborted.start()
        await insert(connection, -2)
        await fails(exceptions.DivisionByZeroError, connection.fetch("select 1 / $1::int", 0))
        await fails(exceptions.InFailedSQLTransactionError, ask(connection, "nobody"))
        await aborted.rollback()
        await ask(connection, f"after abort {n}")

        async with connection.transaction(isolation="repeatable_read"):
            savepoint = connection.transaction()
            await savepoint.start()
            await insert(connection, -3)
            await fails(exceptions.DivisionByZeroError, connection.fetch("select 1 / $1::int", 0))
            await savepoint.rollback()
            await ask(connection, f"after savepoint {n}")
            await insert(connection, 100 + n)
    check(await items(connection), 30)
    check(await items(connection, "n < 0"), 0)


async def pipeline(connection):
    """executemany sends everything before one Sync: it is all or nothing."""
    sql = "insert into items select $1, 100 / $2::int"
    for n in range(15):
        await connection.executemany(sql, [(me, i) for i in range(1, 101)])
        check(await items(connection), 100)
        broken = [(me, i - 50) for i in range(1, 101)]
        await fails(exceptions.DivisionByZeroError, connection.executemany(sql, broken))
        check(await items(connection), 100)
        await fails(exceptions.UndefinedTableError, connection.executemany("insert into nowhere values ($1)", [(me,)]))
        await connection.execute("delete from items where owner = $1", me)
        await ask(connection, n)


async def deallocate(connection):
    for n in range(30):
        statement = await connection.prepare(f"select {n}, $1::text", name="same")
        for i in range(3):
            check(tuple(await statement.fetchrow(f"{me} {i}")), (n, f"{me} {i}"))
        # The driver closes what was let go when it has made the next new one.
        del statement
        check(await connection.fetchval(f"select 100 + {n}"), 100 + n)
        await ask(connection, n)
    # More texts than the cache has room for: the oldest is closed.
    small = await asyncpg.connect(user="dave", statement_cache_size=3)
    for n in range(20):
        for i in range(5):
            check(tuple(await small.fetchrow(f"select {i}, $1::text", f"{me} {n}")), (i, f"{me} {n}"))
        await ask(small, n)
    await small.close()
    uncached = await asyncpg.connect(user="dave", statement_cache_size=0)
    for n in range(20):
        await ask(uncached, n, named=False)
    await uncached.close()
    # The driver does not know of these, and tells of it as it does without a pooler.
    for n in range(10):
        await ask(connection, n)
        await connection.execute("deallocate all")
        await fails(exceptions.InvalidSQLStatementNameError, ask(connection, "nobody"))
        await connection.reload_schema_state()
        await ask(connection, n)


async def cursor(connection):
    rows = "select i, $1::text, pg_backend_pid() from generate_series(1, 100) i"
    for n in range(10):
        async with connection.transaction():
            seen = []
            async for row in connection.cursor(rows, f"{me} {n}", prefetch=7):
                check(row[1], f"{me} {n}")
                seen.append(row[0])
                if row[0] % 20 == 0:
                    await ask(connection, f"between {row[0]}")
            check(seen, list(range(1, 101)))
            one = await connection.cursor(rows, "one")
            two = await (await connection.prepare(rows)).cursor("two")
            for start in range(1, 101, 10):
                check([row[:2] for row in await one.fetch(10)], [(i, "one") for i in range(start, start + 10)])
                check([row[:2] for row in await two.fetch(10)], [(i, "two") for i in range(start, start + 10)])
            check(await one.fetchrow(), None)
        await ask(connection, n)


async def pool(_connection):
    """Each release of a connection runs the driver's reset query; statements outlive it."""
    async with asyncpg.create_pool(user="dave", min_size=2, max_size=3) as shared:

        async def work(task):
            for n in range(20):
                async with shared.acquire() as connection:
                    await ask(connection, f"{task} {n}")
                    async with connection.transaction():
                        await ask(connection, f"{task} within {n}", SHARED)

        await asyncio.gather(*(work(task) for task in range(6)))


async def main():
    connection = await asyncpg.connect(user="dave")
    print("ready", flush=True)
    sys.stdin.readline()
    await globals()[case](connection)
    await connection.close()
    print(json.dumps({"answers": answers, "pids": sorted(pids)}))


asyncio.run(main())
