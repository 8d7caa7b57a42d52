/*
 * Events.java - atlas_events with JDBC: submits an event with an idempotency
 * key, reads a timeline, and handles each kind of refusal.
 *
 * PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD are the connection, which
 * is by TCP. The tenant is TENANT.
 */
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.UUID;
import org.postgresql.ds.PGSimpleDataSource;
import org.postgresql.util.PSQLException;

public class Events {
    static final int ATTEMPTS = 3;
    static final String CUSTOMER = "c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e";
    static final String TENANT = env("TENANT", "");

    /* An event about a customer, and the order that the event is about. */
    record Event(String externalId, String name, String description, String icon, String order, String carrier,
                 String idempotencyKey) {
    }

    interface Work<T> {
        T in(Connection connection) throws SQLException;
    }

    static final PGSimpleDataSource database = new PGSimpleDataSource();

    static String env(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    static void configure() {
        database.setServerNames(new String[] {env("PGHOST", "localhost")});
        database.setPortNumbers(new int[] {Integer.parseInt(env("PGPORT", "5432"))});
        database.setDatabaseName(env("PGDATABASE", null));
        database.setUser(env("PGUSER", null));
        database.setPassword(env("PGPASSWORD", null));
    }

    /*
     * Returns what the work returns, which runs in a transaction of the tenant.
     *
     * If the connection is lost, even during the commit, nobody knows whether
     * the event was stored. All of it is done again then, on a new connection:
     * with its idempotency key the event is stored once.
     */
    static <T> T inTransaction(Work<T> work) throws SQLException {
        for (int attempt = 1;; attempt++) {
            try (Connection connection = database.getConnection()) {
                connection.setAutoCommit(false);
                setTenant(connection);
                T result = work.in(connection);
                connection.commit();
                return result;
            } catch (SQLException error) {
                if (attempt == ATTEMPTS || !isWorthARetry(error)) {
                    throw error;
                }
                System.err.println("trying again: " + error.getMessage());
            }
        }
    }

    /* This is SET LOCAL with a parameter: the next user of the connection has no tenant. */
    static void setTenant(Connection connection) throws SQLException {
        try (PreparedStatement statement =
                connection.prepareStatement("SELECT set_config('atlas_events.tenant', ?, true)")) {
            statement.setString(1, TENANT);
            statement.execute();
        }
    }

    /* 08 is a lost connection, 57P a server that restarts, 40 a deadlock, 53 a lack of resources. */
    static boolean isWorthARetry(SQLException error) {
        return error.getSQLState() != null && error.getSQLState().matches("(08|40|53|57P).*");
    }

    /* Submits an event, and says what became of it. */
    static void submit(Event event) throws SQLException {
        try {
            System.out.println("stored " + inTransaction(connection -> submitIn(connection, event)));
        } catch (SQLException error) {
            handle(error);
        }
    }

    static UUID submitIn(Connection connection, Event event) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("""
                SELECT submit_event(object_type => 'CUSTOMER', object_id => NULL, external_id => ?,
                    name => ?, description => ?, icon => ?,
                    payload => jsonb_build_object('order', ?::text, 'carrier', ?::text),
                    related_objects => ARRAY[('TICKET', '19734', NULL)]::atlas_object[],
                    idempotency_key => ?)""")) {
            statement.setString(1, event.externalId());
            statement.setString(2, event.name());
            statement.setString(3, event.description());
            statement.setString(4, event.icon());
            statement.setString(5, event.order());
            statement.setString(6, event.carrier());
            statement.setString(7, event.idempotencyKey());
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getObject(1, UUID.class);
            }
        }
    }

    /* What to do about an event that was refused. DETAIL says why, of PT400 as a JSON array of all problems. */
    static void handle(SQLException error) throws SQLException {
        switch (String.valueOf(error.getSQLState())) {
            case "PT400" -> System.out.println("PT400, correct the event: " + detail(error));
            case "PT404" -> System.out.println("PT404, submit it again once the object exists: " + detail(error));
            case "PT409" -> System.out.println("PT409, do not repeat it: " + detail(error));
            case "PT413" -> System.out.println("PT413, shorten it: " + detail(error));
            default -> throw error;
        }
    }

    static String detail(SQLException error) {
        return ((PSQLException) error).getServerErrorMessage().getDetail();
    }

    /* Prints the newest events of an object. */
    static Void printTimeline(Connection connection, String objectType, String objectId, int maxEvents)
            throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(
                "SELECT role, event_id, name FROM atlas_timeline(?, ?, max_events => ?)")) {
            statement.setString(1, objectType);
            statement.setString(2, objectId);
            statement.setInt(3, maxEvents);
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    System.out.println(String.join(" ", rows.getString(1), rows.getString(2), rows.getString(3)));
                }
            }
        }
        return null;
    }

    public static void main(String[] arguments) throws SQLException {
        configure();

        /*
         * The key is made of what the event is about, so that it is the same
         * whenever and wherever this event is submitted again.
         */
        String order = UUID.randomUUID().toString();
        String key = "order-" + order + "-shipped";
        Event shipped = new Event("195959", "Order Shipped", null, null, order, "DHL", key);

        submit(shipped);
        submit(shipped);
        inTransaction(connection -> printTimeline(connection, "CUSTOMER", CUSTOMER, 5));

        submit(new Event("195959", null, null, "ab", order, "DHL", null));
        submit(new Event("0", "Order Refused", null, null, order, "DHL", null));
        submit(new Event("195959", "Order Shipped", null, null, order, "UPS", key));
        submit(new Event("195959", "Order Refused", "x".repeat(300_000), null, order, "DHL", null));
    }
}
