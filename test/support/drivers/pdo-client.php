<?php
// PDO and PHP's own functions as applications use them. `driver-programs.ts` says how this is called and what it has to
// answer.

declare(strict_types=1);

[, $case, $me] = $argv;
$pids = [];
$answers = 0;

// The comment makes one text that is the client's own: many clients give one name to different statements.
$own = "select ?::text, pg_backend_pid(), /* $me */"
    . " exists (select from pg_prepared_statements where not from_sql and statement like '%/* $me */%')";
$shared = 'select ?::text, pg_backend_pid(), true';

function check(mixed $got, mixed $want): void
{
    global $case, $answers;
    if ($got !== $want) {
        throw new Exception("$case, answer $answers: got " . json_encode($got) . ' instead of ' . json_encode($want));
    }
    $answers++;
}

function fails(string $state, callable $action): void
{
    $got = 'no error';
    try {
        $action();
    } catch (PDOException $error) {
        $got = $error->getCode();
    }
    check($got, $state);
}

function connect(): PDO
{
    $where = 'pgsql:host=' . getenv('PGHOST') . ';port=' . getenv('PGPORT') . ';dbname=' . getenv('PGDATABASE');
    return new PDO($where, 'dave');
}

/** The answer to a token of its own; `named` is whether a named statement of that text has to be there. */
function answer(PDOStatement $statement, string $token, bool $named = true): void
{
    global $pids;
    $statement->execute([$token]);
    [$got, $pid, $isNamed] = $statement->fetch(PDO::FETCH_NUM);
    $pids[$pid] = true;
    check($got, $token);
    if ($named) {
        check($isNamed, true);
    }
    check($statement->fetch(), false);
}

/** Prepares, asks and, as its object goes, says DEALLOCATE. */
function ask(PDO $db, string $sql, string|int $n): void
{
    global $me;
    answer($db->prepare($sql), "$me $n");
}

function number(PDO $db, string $sql, mixed ...$values): int
{
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return (int) $statement->fetchColumn();
}

function many(PDO $db): void
{
    global $me, $own, $shared;
    $kept = $db->prepare($own);
    $other = $db->prepare($shared);
    for ($n = 0; $n < 40; $n++) {
        answer($kept, "$me kept $n");
        answer($other, "$me other $n");
        ask($db, $own, $n);
        ask($db, $shared, $n);
        check(number($db, 'select 2 * ?::int', $n), 2 * $n);
    }
    $text = str_repeat('x', 1_000_000);
    $long = $db->prepare("select length(?) + length('$text')");
    for ($n = 0; $n < 3; $n++) {
        $long->execute([$text]);
        check($long->fetchColumn(), 2_000_000);
    }
    // Without names, and without parameters on the wire.
    foreach ([PDO::PGSQL_ATTR_DISABLE_PREPARES, PDO::ATTR_EMULATE_PREPARES] as $attribute) {
        for ($n = 0; $n < 10; $n++) {
            answer($db->prepare($shared, [$attribute => true]), "$me without $n");
        }
    }
}

function error(PDO $db): void
{
    global $me, $own;
    $missing = "select a from missing_$me where ?::bool";
    $divide = $db->prepare('select 100 / (?::int - 5)');
    for ($n = 0; $n < 20; $n++) {
        fails('42601', fn() => number($db, 'selekt ?::int', $n));
        ask($db, $own, "syntax $n");
        if ($n === 5) {
            fails('22012', fn() => $divide->execute([$n]));
        } else {
            $divide->execute([$n]);
            check($divide->fetchColumn(), intdiv(100, $n - 5));
        }
        fails('42P01', fn() => number($db, $missing, 'true'));
        fails('22P02', fn() => number($db, 'select ?::int', 'seven'));
        ask($db, $own, "missing $n");
    }
    $db->exec("create table missing_$me as select 7 as a");
    for ($n = 0; $n < 5; $n++) {
        check(number($db, $missing, 'true'), 7);
    }
}

function transaction(PDO $db): void
{
    global $me, $own, $shared;
    $kept = $db->prepare($own);
    $insert = $db->prepare('insert into items values (?, ?)');
    for ($n = 0; $n < 15; $n++) {
        $db->beginTransaction();
        $insert->execute([$me, $n]);
        answer($kept, "$me within $n");
        $db->commit();
        answer($kept, "$me after commit $n");

        $db->beginTransaction();
        $insert->execute([$me, -1]);
        // Prepared in a transaction that is rolled back, and used after it.
        $within = $db->prepare("$shared, $n");
        answer($within, "$me prepared $n");
        $db->rollBack();
        for ($i = 0; $i < 3; $i++) {
            answer($within, "$me rolled back $i");
        }

        $db->beginTransaction();
        $insert->execute([$me, -2]);
        fails('22012', fn() => number($db, 'select 1 / ?::int', 0));
        fails('25P02', fn() => answer($kept, 'nobody'));
        // Gone in a failed transaction: its DEALLOCATE fails.
        fails('25P02', fn() => ask($db, $shared, 'nobody'));
        unset($within);
        $db->rollBack();
        answer($kept, "$me after abort $n");

        $db->beginTransaction();
        $db->exec('savepoint here');
        $insert->execute([$me, -3]);
        fails('22012', fn() => number($db, 'select 1 / ?::int', 0));
        $db->exec('rollback to here');
        answer($kept, "$me after savepoint $n");
        $insert->execute([$me, 100 + $n]);
        $db->commit();
    }
    check(number($db, 'select count(*) from items where owner = ?', $me), 30);
    check(number($db, 'select count(*) from items where owner = ? and n < 0', $me), 0);
}

function deallocate(PDO $db): void
{
    global $me, $own, $pids;
    for ($n = 0; $n < 20; $n++) {
        $gone = $db->prepare($own);
        for ($i = 0; $i < 3; $i++) {
            answer($gone, "$me $n $i");
        }
        $db->beginTransaction();
        unset($gone);
        ask($db, $own, "within $n");
        $n % 2 === 0 ? $db->commit() : $db->rollBack();
    }
    // PHP's own functions give one name again and again.
    $low = pg_connect('user=dave');
    for ($n = 0; $n < 20; $n++) {
        check(pg_prepare($low, 'same', "select $n, \$1::text, pg_backend_pid()") !== false, true);
        for ($i = 0; $i < 3; $i++) {
            [$number, $token, $pid] = pg_fetch_row(pg_execute($low, 'same', ["$me $i"]));
            check([$number, $token], ["$n", "$me $i"]);
            $pids[$pid] = true;
        }
        check(stateOf($low, pg_send_prepare($low, 'same', "select 'other'")), '42P05');
        check(pg_fetch_result(pg_execute($low, 'same', ['x']), 0, 0), "$n");
        check(stateOf($low, pg_send_query($low, 'deallocate same')), null);
        check(stateOf($low, pg_send_execute($low, 'same', ['x'])), '26000');
    }
}

/** The SQLSTATE of what has just been sent. */
function stateOf(PgSql\Connection $low, bool|int $isSent): ?string
{
    check($isSent, true);
    $state = pg_result_error_field(pg_get_result($low), PGSQL_DIAG_SQLSTATE);
    check(pg_get_result($low), false);
    return $state;
}

function cursor(PDO $db): void
{
    global $me, $own;
    $rows = 'select i, ?::text from generate_series(1, 100) i';
    for ($n = 0; $n < 15; $n++) {
        $db->beginTransaction();
        $one = $db->prepare($rows, [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
        $two = $db->prepare($rows, [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
        $one->execute(["$me one $n"]);
        $two->execute(["$me two $n"]);
        for ($i = 1; $i <= 100; $i++) {
            check($one->fetch(PDO::FETCH_NUM), [$i, "$me one $n"]);
            check($two->fetch(PDO::FETCH_NUM), [$i, "$me two $n"]);
            if ($i % 25 === 0) {
                ask($db, $own, "between $i");
            }
        }
        check($one->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 10), [10, "$me one $n"]);
        check($two->fetch(), false);
        // They are cursors WITH HOLD: not closed, they would outlive the transaction.
        $one->closeCursor();
        $two->closeCursor();
        unset($one, $two);
        $n % 2 === 0 ? $db->commit() : $db->rollBack();
        ask($db, $own, $n);
    }
}

$db = connect();
echo "ready\n";
fgets(STDIN);
$case($db);
echo json_encode(['answers' => $answers, 'pids' => array_keys($pids)]), "\n";
