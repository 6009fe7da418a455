// pgjdbc as applications use it. `driver-programs.ts` says how this is called and what it has to answer.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.Set;
import java.util.TreeSet;

final class JdbcClient {
  /** Never by name; by name from the first time; from the fifth, as is the default. */
  private static final int[] THRESHOLDS = {0, 1, 5};

  /** More than any buffer has room for. */
  private static final int LONG = 200_000;

  private static final String SHARED = "select ?::text, pg_backend_pid(), true";

  private static String me;
  /** The comment makes one text that is the client's own: many clients give one name to different statements. */
  private static String own;

  private static final Set<Integer> pids = new TreeSet<>();
  private static int answers = 0;

  private interface Action {
    void run() throws SQLException;
  }

  public static void main(String[] argv) throws Exception {
    me = argv[1];
    own =
        "select ?::text, pg_backend_pid(), exists (select from pg_prepared_statements"
            + " where not from_sql and statement like '%/* " + me + " */%') /* " + me + " */";
    try (Connection connection = connect("")) {
      System.out.println("ready");
      new BufferedReader(new InputStreamReader(System.in)).readLine();
      switch (argv[0]) {
        case "many" -> many();
        case "error" -> error();
        case "transaction" -> transaction();
        case "pipeline" -> pipeline();
        case "deallocate" -> deallocate();
        case "cursor" -> cursor();
        default -> throw new IllegalArgumentException(argv[0]);
      }
      ask(connection, own, "the end", false);
    }
    System.out.println("{\"answers\":" + answers + ",\"pids\":" + pids + "}");
  }

  private static Connection connect(String options) throws SQLException {
    String where = System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
    return DriverManager.getConnection("jdbc:postgresql://" + where + "?user=" + System.getenv("PGUSER") + options);
  }

  private static Connection connect(int threshold) throws SQLException {
    return connect("&prepareThreshold=" + threshold);
  }

  private static void check(Object got, Object want) {
    if (!want.equals(got)) {
      throw new AssertionError("answer " + answers + ": got " + got + " instead of " + want);
    }
    answers++;
  }

  private static void fails(String state, Action action) {
    String got = "no error";
    try {
      action.run();
    } catch (SQLException error) {
      got = error.getSQLState();
    }
    check(got, state);
  }

  /** One question with a token of its own; `named` is whether a named statement of that text has to be there. */
  private static void answer(PreparedStatement statement, String token, boolean named) throws SQLException {
    statement.setString(1, token);
    try (ResultSet rows = statement.executeQuery()) {
      check(rows.next(), true);
      pids.add(rows.getInt(2));
      check(rows.getString(1), token);
      if (named) check(rows.getBoolean(3), true);
      check(rows.next(), false);
    }
  }

  private static void ask(Connection connection, String sql, Object n, boolean named) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      answer(statement, me + " " + n, named);
    }
  }

  private static int number(Connection connection, String sql, Object... values) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        return rows.getInt(1);
      }
    }
  }

  private static void insert(Connection connection, int n) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement("insert into items values (?, ?)")) {
      statement.setString(1, me);
      statement.setInt(2, n);
      check(statement.executeUpdate(), 1);
    }
  }

  private static void run(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  private static void many() throws SQLException {
    for (int threshold : THRESHOLDS) {
      try (Connection connection = connect(threshold);
          PreparedStatement kept = connection.prepareStatement(own)) {
        for (int n = 0; n < 30; n++) {
          boolean named = threshold > 0 && n > threshold;
          answer(kept, me + " kept " + n, named);
          ask(connection, own, n, named);
          ask(connection, SHARED, n, false);
          // One text with other types is another statement.
          check(number(connection, "select 2 * ?", n), 2 * n);
          check(number(connection, "select 2 * ?", (long) n), 2 * n);
          check(number(connection, "select 2 * ?", (double) n), 2 * n);
        }
        String text = "x".repeat(LONG);
        for (int n = 0; n < 7; n++) {
          check(number(connection, "select length(?) + length('" + text + "')", text), 2 * LONG);
        }
      }
    }
  }

  private static void error() throws SQLException {
    for (int threshold : THRESHOLDS) {
      try (Connection connection = connect(threshold)) {
        String missing = "select a from missing_" + me + "_" + threshold;
        for (int n = 0; n < 15; n++) {
          int number = n;
          fails("42601", () -> number(connection, "selekt ?", number));
          ask(connection, own, "syntax " + n, false);
          fails("22012", () -> number(connection, "select 100 / (? - ?)", number, number));
          check(number(connection, "select 100 / (? - ?)", n, n - 1), 100);
          fails("42P01", () -> number(connection, missing));
          fails("22P02", () -> number(connection, "select ?::int", "seven"));
          ask(connection, own, "missing " + n, false);
        }
        run(connection, "create table missing_" + me + "_" + threshold + " as select 7 as a");
        for (int n = 0; n < 7; n++) check(number(connection, missing), 7);
      }
    }
  }

  private static void transaction() throws SQLException {
    for (int threshold : THRESHOLDS) {
      for (String autosave : new String[] {"never", "always"}) {
        try (Connection connection = connect("&prepareThreshold=" + threshold + "&autosave=" + autosave)) {
          transactions(connection, autosave.equals("always"));
        }
      }
    }
  }

  /** With autosave the driver sets a savepoint before each statement and goes back to it after an error. */
  private static void transactions(Connection connection, boolean autosaves) throws SQLException {
    connection.setAutoCommit(false);
    for (int n = 0; n < 10; n++) {
      insert(connection, n);
      ask(connection, own, "within " + n, false);
      connection.commit();

      insert(connection, -1);
      // Prepared in a transaction that is rolled back, and used after it.
      int number = n;
      try (PreparedStatement statement = connection.prepareStatement("select ?::text, pg_backend_pid(), true, " + n)) {
        answer(statement, me + " before " + n, false);
        connection.rollback();
        for (int i = 0; i < 3; i++) {
          answer(statement, me + " after " + i, false);
          connection.commit();
        }
      }

      insert(connection, -2);
      fails("22012", () -> number(connection, "select 1 / (? - ?)", number, number));
      if (autosaves) ask(connection, own, "saved " + n, false);
      else fails("25P02", () -> ask(connection, own, "nobody", false));
      connection.rollback();
      ask(connection, own, "after abort " + n, false);
      connection.commit();

      Savepoint savepoint = connection.setSavepoint("here");
      insert(connection, -3);
      fails("22P02", () -> number(connection, "select ?::int", "seven"));
      connection.rollback(savepoint);
      ask(connection, own, "after savepoint " + n, false);
      insert(connection, 100 + n);
      connection.commit();
    }
    check(number(connection, "select count(*) from items where owner = ?", me), 20);
    check(number(connection, "select count(*) from items where owner = ? and n < 0", me), 0);
    run(connection, "delete from items where owner = '" + me + "'");
    connection.commit();
  }

  /** A batch is sent as a whole before its answers are read. */
  private static void pipeline() throws SQLException {
    for (int threshold : THRESHOLDS) {
      for (boolean rewrites : new boolean[] {false, true}) {
        String options = "&prepareThreshold=" + threshold + "&reWriteBatchedInserts=" + rewrites;
        try (Connection connection = connect(options)) {
          for (boolean autoCommits : new boolean[] {true, false}) {
            connection.setAutoCommit(autoCommits);
            for (int n = 0; n < 5; n++) batches(connection, n);
          }
        }
      }
    }
  }

  private static void batches(Connection connection, int n) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement("insert into items (owner, n) values (?, ?)")) {
      for (int i = 0; i < 200; i++) addTo(statement, i);
      check(statement.executeBatch().length, 200);
    }
    ask(connection, own, "after batch " + n, false);
    check(number(connection, "select count(*) from items where owner = ?", me), 200);
    run(connection, "delete from items where owner = '" + me + "'");
    if (!connection.getAutoCommit()) connection.commit();

    try (PreparedStatement statement = connection.prepareStatement("insert into items select ?, 100 / ?")) {
      for (int i = 0; i < 50; i++) addTo(statement, i - 25);
      fails("22012", () -> batch(statement));
      if (!connection.getAutoCommit()) connection.rollback();
      check(number(connection, "select count(*) from items where owner = ?", me), 0);
      // The same statement again, without what failed.
      for (int i = 1; i < 50; i++) addTo(statement, i);
      check(statement.executeBatch().length, 49);
    }
    try (Statement statement = connection.createStatement()) {
      for (String value : new String[] {"1", "2", "1 / 0", "4"}) {
        statement.addBatch("insert into items values ('" + me + "', " + value + ")");
      }
      fails("22012", () -> batch(statement));
      if (!connection.getAutoCommit()) connection.rollback();
    }
    ask(connection, own, "after failure " + n, false);
    run(connection, "delete from items where owner = '" + me + "'");
    if (!connection.getAutoCommit()) connection.commit();
  }

  private static void addTo(PreparedStatement statement, int n) throws SQLException {
    statement.setString(1, me);
    statement.setInt(2, n);
    statement.addBatch();
  }

  private static void batch(Statement statement) throws SQLException {
    try {
      statement.executeBatch();
    } catch (BatchUpdateException error) {
      throw error.getNextException() == null ? error : error.getNextException();
    }
  }

  private static void deallocate() throws SQLException {
    // More texts than the cache has room for: the driver closes the oldest.
    try (Connection connection = connect("&prepareThreshold=1&preparedStatementCacheQueries=2")) {
      for (int n = 0; n < 30; n++) {
        for (int i = 0; i < 4; i++) check(number(connection, "select ? + " + i, n), n + i);
        ask(connection, own, n, false);
      }
    }
    // None: each statement is closed with its object.
    try (Connection connection = connect("&prepareThreshold=1&preparedStatementCacheQueries=0")) {
      for (int n = 0; n < 20; n++) ask(connection, own, n, true);
    }
    // By their tags the driver knows that its statements are gone.
    for (String gone : new String[] {"deallocate all", "discard all"}) {
      try (Connection connection = connect("&prepareThreshold=1");
          PreparedStatement kept = connection.prepareStatement(own)) {
        for (int n = 0; n < 10; n++) {
          answer(kept, me + " before " + n, n > 0);
          answer(kept, me + " and before " + n, true);
          run(connection, gone);
          answer(kept, me + " after " + n, true);
          ask(connection, SHARED, n, false);
        }
      }
    }
  }

  private static void cursor() throws SQLException {
    for (int threshold : THRESHOLDS) {
      try (Connection connection = connect(threshold)) {
        connection.setAutoCommit(false);
        for (int n = 0; n < 10; n++) {
          try (PreparedStatement one = rows(connection, "one " + n);
              PreparedStatement two = rows(connection, "two " + n);
              ResultSet first = one.executeQuery();
              ResultSet second = two.executeQuery()) {
            for (int i = 1; i <= 100; i++) {
              check(first.next() && second.next(), true);
              check(first.getInt(1) + first.getString(2), i + me + " one " + n);
              check(second.getInt(1) + second.getString(2), i + me + " two " + n);
              if (i % 25 == 0) ask(connection, own, "between " + i, false);
            }
            check(first.next() || second.next(), false);
          }
          try (PreparedStatement early = rows(connection, "early " + n);
              ResultSet some = early.executeQuery()) {
            check(some.next(), true);
          }
          if (n % 2 == 0) connection.commit();
          else connection.rollback();
          ask(connection, own, n, false);
          connection.commit();
        }
      }
    }
  }

  private static PreparedStatement rows(Connection connection, String n) throws SQLException {
    PreparedStatement statement = connection.prepareStatement("select i, ?::text from generate_series(1, 100) i");
    statement.setFetchSize(7);
    statement.setString(1, me + " " + n);
    return statement;
  }
}
