import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** Asks the console with the JDBC driver as it is: extended protocol, and binary results once it trusts a statement. */
public class ConsoleClient {
  public static void main(String[] argv) throws Exception {
    try (Connection connection = DriverManager.getConnection(argv[0])) {
      for (int i = 0; i < 10; i++) {
        try (PreparedStatement statement = connection.prepareStatement("SHOW DATABASES");
            ResultSet rows = statement.executeQuery()) {
          while (rows.next()) {
            if (i == 9) System.out.println(rows.getString("name") + " " + rows.getInt("pool_size"));
          }
        }
        try (PreparedStatement statement = connection.prepareStatement("SHOW STATS");
            ResultSet rows = statement.executeQuery()) {
          rows.next();
          if (i == 9) System.out.println(rows.getLong("total_query_count"));
        }
      }
      try (Statement statement = connection.createStatement()) {
        try {
          statement.execute("PAUSE nope");
        } catch (SQLException error) {
          System.out.println(error.getSQLState());
        }
        statement.execute("PAUSE");
        statement.execute("RESUME");
        System.out.println(connection.isValid(5));
      }
    }
  }
}
