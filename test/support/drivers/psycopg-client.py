"""psycopg 3 as applications use it. `driver-programs.ts` says how this is called and what it has to answer."""
import json
import logging
import os
import sys

import psycopg
from psycopg import errors, pq

# A pipeline that ends by an error logs that it does.
logging.disable()
case, me = sys.argv[1:]
pids = set()
answers = 0


def check(got, want):
    global answers
    if got != want:
        raise AssertionError(f"{case}, answer {answers}: got {got!r} instead of {want!r}")
    answers += 1


def fails(error, action):
    try:
        action()
    except error:
        check(True, True)
    else:
        raise AssertionError(f"{case}, answer {answers}: no {error.__name__}")


# The comment makes one text that is the client's own: many clients give one name to different statements.
OWN = f"""select %s::text, pg_backend_pid(), /* {me} */
    exists (select from pg_prepared_statements where not from_sql and statement like '%%/* {me} */%%')"""
SHARED = "select %s::text, pg_backend_pid(), true"
NUMBER = "select %s::text, pg_backend_pid(), %s::int = 7"


def connect(**options):
    return psycopg.connect(autocommit=True, **options)


def ask(connection, n, sql=OWN, named=True, **options):
    """One question with a token of its own; `named` is whether a named statement of that text has to be there."""
    token = f"{me} {n}"
    got, pid, is_named = connection.execute(sql, [token], **options).fetchone()
    pids.add(pid)
    check(got, token)
    if named:
        check(is_named, True)


def items(connection, where="true"):
    sql = f"select count(*) from items where owner = %s and {where}"
    return connection.execute(sql, [me], prepare=True).fetchone()[0]


def insert(connection, n):
    connection.execute("insert into items values (%s, %s::int)", [me, n], prepare=True)


def many(connection):
    # The driver prepares what it runs for the sixth time.
    for n in range(40):
        ask(connection, n, named=n > 5)
        ask(connection, f"shared {n}", SHARED)
        with connection.cursor() as cursor:
            row = cursor.execute(NUMBER, [f"{me} number {n}", 7]).fetchone()
            check((row[0], row[2]), (f"{me} number {n}", True))
    connection.prepare_threshold = 0
    for n in range(20):
        ask(connection, f"at once {n}")
    # One text with other types is another statement.
    for value in (1, 2**40, 2**70, "text", None, 1.5, True) * 5:
        check(connection.execute("select %s", [value]).fetchone()[0], value)
    connection.prepare_threshold = None
    for n in range(10):
        ask(connection, f"never {n}", SHARED)
    # Longer than any buffer.
    for length in (100_000, 1_000_000):
        text = "x" * length
        sql = f"select length(%s), length('{text}'), right(%s, 3)"
        for _ in range(3):
            check(connection.execute(sql, [text, me + "end"], prepare=True).fetchone(), (length, length, "end"))


def error(connection):
    connection.prepare_threshold = 0
    divide = "select 100 / (%s::int - 5)"
    for n in range(20):
        fails(errors.SyntaxError, lambda: connection.execute("selekt %s::text", [me]))
        ask(connection, f"syntax {n}")
        if n == 5:
            fails(errors.DivisionByZero, lambda: connection.execute(divide, [n]))
        else:
            check(connection.execute(divide, [n]).fetchone()[0], int(100 / (n - 5)))
    missing = f"select a from missing_{me}"
    for n in range(5):
        fails(errors.UndefinedTable, lambda: connection.execute(missing))
        ask(connection, f"missing {n}")
    connection.execute(f"create table missing_{me} as select 7 as a")
    for n in range(5):
        check(connection.execute(missing).fetchone()[0], 7)
    fails(errors.InvalidTextRepresentation, lambda: connection.execute("select %s::int", ["seven"]))
    ask(connection, "the end")


def transaction(connection):
    connection.prepare_threshold = 0
    for n in range(15):
        with connection.transaction():
            insert(connection, n)
            ask(connection, f"within {n}")
        ask(connection, f"after commit {n}")
        with connection.transaction(force_rollback=True):
            insert(connection, -1)
            # Prepared in a transaction that is rolled back, and used after it.
            check(connection.execute(f"select {n} + %s::int", [n]).fetchone()[0], 2 * n)
        check(connection.execute(f"select {n} + %s::int", [n]).fetchone()[0], 2 * n)
        ask(connection, f"after rollback {n}")

        def aborted():
            with connection.transaction():
                insert(connection, -2)
                fails(errors.DivisionByZero, lambda: connection.execute("select 1 / %s::int", [0]))
                fails(errors.InFailedSqlTransaction, lambda: ask(connection, "nobody"))
                raise KeyError

        fails(KeyError, aborted)
        ask(connection, f"after abort {n}")
        with connection.transaction():

            def nested():
                with connection.transaction():
                    insert(connection, -3)
                    connection.execute("select 1 / %s::int", [0])

            fails(errors.DivisionByZero, nested)
            ask(connection, f"after savepoint {n}")
            insert(connection, 100 + n)
    check(items(connection), 30)
    check(items(connection, "n < 0"), 0)


def pipeline(connection):
    for threshold in (5, 0, None):
        connection.prepare_threshold = threshold
        for n in range(10):
            with connection.pipeline():
                cursors = [connection.execute(SHARED, [f"{me} {n} {i}"]) for i in range(30)]
                for i, cursor in enumerate(cursors):
                    got, pid, _ = cursor.fetchone()
                    pids.add(pid)
                    check(got, f"{me} {n} {i}")
            failing(connection, n)
            ask(connection, f"after {n}", named=False)
    for n in range(20):
        raw_pipeline(connection.pgconn, n)


def failing(connection, n):
    """As an application sees it: where in the block the error comes up depends on when the answers arrive."""

    def block():
        with connection.pipeline():
            insert(connection, n)
            connection.execute("select 1 / %s::int", [0])
            # Not to be prepared: this driver takes a statement for prepared even if its Parse was skipped.
            connection.execute(SHARED, [f"{me} skipped {n}"], prepare=False)

    fails(errors.DivisionByZero, block)
    # A batch is one transaction: its INSERT is gone.
    check(items(connection, f"n = {n}"), 0)


def raw_pipeline(low, n):
    """Prepares, fails, skips and goes on behind a Sync, all sent before the first answer is read."""
    kept, failed, skipped = (f"{name}_{n}".encode() for name in ("kept", "failed", "skipped"))
    token = f"{me} {n}".encode()
    low.enter_pipeline_mode()
    low.send_prepare(kept, b"select $1::text || ' kept'")
    low.send_query_prepared(kept, [token])
    low.send_prepare(failed, b"selekt")
    low.send_prepare(skipped, b"select $1::text || ' first'")
    low.send_query_prepared(kept, [token])
    low.pipeline_sync()
    low.send_prepare(skipped, b"select $1::text || ' second'")
    low.send_query_prepared(skipped, [token])
    low.send_query_prepared(failed, [token])
    low.send_query_prepared(kept, [token])
    low.pipeline_sync()
    low.send_query_prepared(kept, [token])
    low.pipeline_sync()
    check(answers_of(low, 8), ["", token + b" kept", b"42601", "aborted", "aborted", "sync", "", token + b" second"])
    check(answers_of(low, 5), [b"26000", "aborted", "sync", token + b" kept", "sync"])
    low.exit_pipeline_mode()
    for gone in [b"all"] if n % 2 == 0 else [kept, skipped]:
        low_level(low, b"", pq.ExecStatus.COMMAND_OK, lambda: low.exec_(b"deallocate " + gone))


def answers_of(low, count):
    """An answer to a statement is followed by a null result, one to a Sync is not."""
    found = []
    while len(found) < count:
        result = low.get_result()
        if result is None:
            continue
        found.append(
            {
                pq.ExecStatus.PIPELINE_SYNC: "sync",
                pq.ExecStatus.PIPELINE_ABORTED: "aborted",
                pq.ExecStatus.COMMAND_OK: "",
                pq.ExecStatus.TUPLES_OK: result.get_value(0, 0),
                pq.ExecStatus.FATAL_ERROR: result.error_field(pq.DiagnosticField.SQLSTATE),
            }[result.status]
        )
    return found


def deallocate(connection):
    # The driver says DEALLOCATE for what has to go, and DEALLOCATE ALL after ROLLBACK and DROP.
    connection.prepare_threshold = 0
    connection.prepared_max = 3
    for n in range(30):
        for i in range(5):
            check(connection.execute(f"select {i}, %s::text", [f"{me} {n}"]).fetchone(), (i, f"{me} {n}"))
        ask(connection, n)
        if n % 10 == 9:
            connection.execute("begin")
            ask(connection, f"within {n}")
            connection.execute("rollback")

    low = connection.pgconn
    for n in range(20):
        low_level(low, b"", pq.ExecStatus.COMMAND_OK, lambda: low.prepare(b"same", f"select {n}, $1::text".encode()))
        for i in range(3):
            result = low.exec_prepared(b"same", [f"{me} {i}".encode()])
            check((result.get_value(0, 0), result.get_value(0, 1)), (str(n).encode(), f"{me} {i}".encode()))
        low_level(low, b"42P05", pq.ExecStatus.FATAL_ERROR, lambda: low.prepare(b"same", b"select 'other'"))
        check(low.exec_prepared(b"same", [b"x"]).get_value(0, 0), str(n).encode())
        check(low.describe_prepared(b"same").nfields, 2)
        gone = b"deallocate all" if n % 4 == 3 else b"deallocate same"
        low_level(low, b"", pq.ExecStatus.COMMAND_OK, lambda: low.exec_(gone))
        low_level(low, b"26000", pq.ExecStatus.FATAL_ERROR, lambda: low.exec_prepared(b"same", [b"x"]))
        low_level(low, b"26000", pq.ExecStatus.FATAL_ERROR, lambda: low.describe_prepared(b"same"))


def low_level(low, state, status, action):
    result = action()
    check((result.error_field(pq.DiagnosticField.SQLSTATE) or b"", result.status), (state, status))


def cursor(connection):
    rows = "select i, %s::text, pg_backend_pid() from generate_series(1, 100) i"
    for n in range(10):
        with connection.transaction():
            with connection.cursor(name="same") as one, connection.cursor(name="other", scrollable=True) as two:
                one.itersize = two.itersize = 7
                one.execute(rows, [f"{me} one {n}"])
                two.execute(rows, [f"{me} two {n}"])
                check([row[:2] for row in one], [(i, f"{me} one {n}") for i in range(1, 101)])
                check([row[:2] for row in two], [(i, f"{me} two {n}") for i in range(1, 101)])
                two.scroll(10, mode="absolute")
                check(two.fetchone()[0], 11)
                ask(connection, f"within {n}", prepare=True)
        with connection.cursor() as stream:
            check([row[0] for row in stream.stream(rows, [me])], list(range(1, 101)))
        ask(connection, n, prepare=True)


version = os.environ.get("EXPECTED_LIBPQ")
if version is not None:
    check(pq.version() // 10000, int(version))
with connect() as opened:
    print("ready", flush=True)
    sys.stdin.readline()
    globals()[case](opened)
print(json.dumps({"answers": answers, "pids": sorted(pids)}))
