-- The objects that the events of the benchmarks are about. Ids can be computed
-- from a number, by this script, by pgbench scripts and by the driver.
--
--     psql --set=customers=1000000 --file=objects.sql

CREATE TABLE customers (id uuid PRIMARY KEY, external_id text NOT NULL UNIQUE);
CREATE TABLE accounts (id uuid PRIMARY KEY, external_id text NOT NULL UNIQUE);
CREATE TABLE conversations (id bigint PRIMARY KEY, external_id text UNIQUE);

INSERT INTO customers
SELECT md5('customer-' || n)::uuid, 'C-' || n FROM generate_series(1, :customers) AS n;
INSERT INTO accounts
SELECT md5('account-' || n)::uuid, 'A-' || n FROM generate_series(1, :customers / 10) AS n;
INSERT INTO conversations
SELECT n, 'ZD-' || n FROM generate_series(1, :customers) AS n;

VACUUM ANALYZE customers, accounts, conversations;
