# DBD::Pg as applications use it. `driver-programs.ts` says how this is called and what it has to answer.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:async);

my ($case, $me) = @ARGV;
my %pids;
my $answers = 0;

# The comment makes one text that is the client's own: many clients give one name to different statements.
my $own = "select ?::text, pg_backend_pid(), /* $me */"
  . " exists (select from pg_prepared_statements where not from_sql and statement like '%/* $me */%')";
my $shared = 'select ?::text, pg_backend_pid(), true';

sub check {
  my ($got, $want) = @_;
  $got = 'nothing' unless defined $got;
  die "$case, answer $answers: got $got instead of $want\n" if $got ne $want;
  $answers++;
}

sub fails {
  my ($db, $state, $action) = @_;
  check(eval { $action->(); 'no error' } || $db->state, $state);
}

sub open_database {
  my $where = "dbi:Pg:host=$ENV{PGHOST};port=$ENV{PGPORT};dbname=$ENV{PGDATABASE}";
  return DBI->connect($where, 'dave', '', { AutoCommit => 1, RaiseError => 1, PrintError => 0, PrintWarn => 0 });
}

# Checks the answer to a statement with a token of its own; $named is whether a named statement of that text has to be there.
# The first time the driver runs a statement without its name, also one that it has prepared already.
sub answer {
  my ($statement, $n, $named) = @_;
  $named = 0 if !$statement->{private_runs}++;
  $statement->execute("$me $n");
  my ($got, $pid, $is_named) = $statement->fetchrow_array;
  $statement->finish;
  $pids{$pid} = 1;
  check($got, "$me $n");
  check($is_named, 1) if $named;
}

sub ask {
  my ($db, $sql, $n) = @_;
  answer($db->prepare($sql), $n, 0);
}

sub number {
  my ($db, $sql, @values) = @_;
  my ($got) = $db->selectrow_array($sql, undef, @values);
  return $got;
}

sub insert {
  my ($db, $n) = @_;
  $db->do('insert into items values (?, ?)', undef, $me, $n);
}

my %cases = (
  many => sub {
    my $db = shift;
    my $kept = $db->prepare($own);
    my $at_once = $db->prepare("$own and true", { pg_prepare_now => 1 });
    my $other = $db->prepare($shared);
    my $double = $db->prepare('select 2 * ?::int');
    for my $n (0 .. 39) {
      answer($kept, "kept $n", 1);
      answer($at_once, "at once $n", 1);
      answer($other, "other $n", 0);
      ask($db, $shared, $n);
      $double->execute($n);
      check($double->fetchrow_array, 2 * $n);
    }
    my $text = 'x' x 1_000_000;
    my $long = $db->prepare("select length(?) + length('$text')");
    for (1 .. 4) {
      $long->execute($text);
      check($long->fetchrow_array, 2_000_000);
    }
  },

  error => sub {
    my $db = shift;
    my $missing = "select a from missing_$me where ?";
    my $divide = $db->prepare('select 100 / (?::int - 5)');
    for my $n (0 .. 19) {
      fails($db, '42601', sub { $db->prepare('selekt ?::int', { pg_prepare_now => 1 })->execute($n) });
      ask($db, $own, "syntax $n");
      if ($n == 5) {
        fails($db, '22012', sub { $divide->execute($n) });
      } else {
        $divide->execute($n);
        check($divide->fetchrow_array, int(100 / ($n - 5)));
      }
      fails($db, '42P01', sub { $db->prepare($missing, { pg_prepare_now => 1 })->execute('true') });
      fails($db, '22P02', sub { number($db, 'select ?::int', 'seven') });
      ask($db, $own, "missing $n");
    }
    $db->do("create table missing_$me as select 7 as a");
    my $found = $db->prepare($missing, { pg_prepare_now => 1 });
    for (0 .. 4) {
      $found->execute('true');
      check($found->fetchrow_array, 7);
    }
  },

  transaction => sub {
    my $db = shift;
    my $kept = $db->prepare($own);
    my $insert = $db->prepare('insert into items values (?, ?)');
    for my $n (0 .. 14) {
      $db->begin_work;
      $insert->execute($me, $n);
      answer($kept, "within $n", $n > 0);
      $db->commit;
      answer($kept, "after commit $n", 1);

      $db->begin_work;
      $insert->execute($me, -1);
      # Prepared in a transaction that is rolled back, and used after it.
      my $within = $db->prepare("$shared, $n", { pg_prepare_now => 1 });
      answer($within, "prepared $n", 0);
      $db->rollback;
      answer($within, "rolled back $n", 0) for 0 .. 2;

      $db->begin_work;
      $insert->execute($me, -2);
      fails($db, '22012', sub { number($db, 'select 1 / ?::int', 0) });
      fails($db, '25P02', sub { answer($kept, 'nobody', 0) });
      $db->rollback;
      answer($kept, "after abort $n", 1);

      $db->begin_work;
      $db->pg_savepoint('here');
      $insert->execute($me, -3);
      fails($db, '22012', sub { number($db, 'select 1 / ?::int', 0) });
      $db->pg_rollback_to('here');
      answer($kept, "after savepoint $n", 1);
      $insert->execute($me, 100 + $n);
      $db->commit;
    }
    check(number($db, 'select count(*) from items where owner = ?', $me), 30);
    check(number($db, 'select count(*) from items where owner = ? and n < 0', $me), 0);
  },

  deallocate => sub {
    my $db = shift;
    for my $n (0 .. 39) {
      # The driver says DEALLOCATE when the statement's object goes.
      my $gone = $db->prepare($own, { pg_prepare_now => 1 });
      answer($gone, "$n $_", 1) for 0 .. 2;
      undef $gone;
      # Also in a transaction, and in one that has failed.
      $db->begin_work;
      my $within = $db->prepare("$own and true", { pg_prepare_now => 1 });
      answer($within, "within $n", 1);
      undef $within if $n % 2 == 0;
      fails($db, '22012', sub { number($db, 'select 1 / ?::int', 0) }) if $n % 4 == 1;
      undef $within;
      $db->rollback;
      ask($db, $own, "after $n");
    }
    for my $n (0 .. 9) {
      $db->do('deallocate all');
      my $again = $db->prepare($own, { pg_prepare_now => 1 });
      answer($again, "again $n", 1);
    }
  },

  cursor => sub {
    my $db = shift;
    my $rows = 'select i, ?::text from generate_series(1, 100) i';
    for my $n (0 .. 14) {
      $db->begin_work;
      # The driver has no cursors of its own: applications declare them.
      for my $name ('one', 'two') {
        $db->do("declare $name cursor for $rows", undef, "$me $name $n");
      }
      my %fetch = map { $_ => $db->prepare("fetch forward 10 from $_") } 'one', 'two';
      for my $start (map { 10 * $_ } 0 .. 9) {
        for my $name ('one', 'two') {
          $fetch{$name}->execute;
          my $got = join ' ', map { "$_->[0] $_->[1]" } @{ $fetch{$name}->fetchall_arrayref };
          check($got, join ' ', map { "$_ $me $name $n" } $start + 1 .. $start + 10);
        }
        ask($db, $own, "between $start");
      }
      $db->do('close one');
      $n % 2 ? $db->commit : $db->rollback;
      ask($db, $own, $n);
    }
  },

  async => sub {
    my $db = shift;
    # Long enough for the clients to be in each other's way.
    my $kept = $db->prepare("$own from (select pg_sleep(0.005)) slept", { pg_async => PG_ASYNC });
    for my $n (0 .. 39) {
      $kept->execute("$me $n");
      $db->pg_result;
      my ($got, $pid) = $kept->fetchrow_array;
      $pids{$pid} = 1;
      check($got, "$me $n");
    }
  },
);

my $db = open_database();
$| = 1;
print "ready\n";
<STDIN>;
$cases{$case}->($db);
$db->disconnect;
printf "{\"answers\":%d,\"pids\":[%s]}\n", $answers, join(',', sort keys %pids);
