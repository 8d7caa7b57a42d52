-- atlas_discover_object_types(): tables that are named after the built-in types
-- are connected when there is no doubt. Everything is undone at the end.
BEGIN;

-- What is connected already is shown, and left alone.
SELECT * FROM atlas_discover_object_types('crm');

-- From here on, nothing is.
SELECT count(atlas_unregister_object_type(object_type)) FROM atlas_object_types;

-- ---------------------------------------------------------------------
-- Names of the tables and of the columns
-- ---------------------------------------------------------------------
SELECT * FROM atlas_discover_object_types('crm');
SELECT object_type, relation, id_column, external_id_column, tenant_column, aliases FROM atlas_object_types ORDER BY object_type;
-- Once more changes nothing.
SELECT object_type, registered FROM atlas_discover_object_types('crm');
-- And they work.
SELECT submit_event('CUSTOMER', NULL, 'x', external_id => '195959') IS NOT NULL;
DELETE FROM atlas_object_types;

CREATE SCHEMA names;
SET LOCAL search_path = names, public;
CREATE TABLE "Tickets" (ticket_id int PRIMARY KEY, "externalID" text);
CREATE TABLE "ACCOUNT" ("AccountID" int PRIMARY KEY, external_id text UNIQUE);
CREATE TABLE customer ("customersId" int PRIMARY KEY);
CREATE TABLE users (name text PRIMARY KEY, user_id int UNIQUE, id int);
CREATE TABLE chat_bots (id int PRIMARY KEY, email text, "Full_Name" varchar(80), title int);
CREATE TABLE company (id int UNIQUE, title text, name char(20));
CREATE TABLE help_centers (helpcenter_id text PRIMARY KEY, externalid int UNIQUE);
CREATE TABLE "SessionRecordings" (session_recording_id uuid, day date, PRIMARY KEY (session_recording_id, day)) PARTITION BY RANGE (day);
SELECT * FROM atlas_discover_object_types('names');
DELETE FROM atlas_object_types;

-- ---------------------------------------------------------------------
-- Not usable, and therefore not listed
-- ---------------------------------------------------------------------
CREATE SCHEMA unusable;
SET LOCAL search_path = unusable, public;
CREATE TABLE conversations (id int, subject text);              -- not unique
CREATE TABLE accounts (number int PRIMARY KEY);                 -- no such name
CREATE TABLE customers (id date PRIMARY KEY);                   -- no type for ids
CREATE VIEW users AS SELECT 1 AS id;                            -- views only by choice
CREATE TABLE chatbots (tenant text, id int, PRIMARY KEY (tenant, id));
CREATE TABLE old_companies (id int PRIMARY KEY);
CREATE MATERIALIZED VIEW helpcenters AS SELECT 1 AS id;
CREATE UNIQUE INDEX ON helpcenters (id);
CREATE TEMPORARY TABLE session_recordings (id int PRIMARY KEY);
SELECT * FROM atlas_discover_object_types('unusable');

-- ---------------------------------------------------------------------
-- Doubt: several tables, or a tenant column
-- ---------------------------------------------------------------------
CREATE SCHEMA doubt;
SET LOCAL search_path = doubt, public;
CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE agents (id int PRIMARY KEY);
CREATE TABLE chatbots (id int PRIMARY KEY, "tenantId" text);
CREATE TABLE companies (id int PRIMARY KEY, tenant_id text);
CREATE TABLE accounts (id int PRIMARY KEY);
SELECT * FROM atlas_discover_object_types('doubt');
SELECT object_type, relation FROM atlas_object_types;

-- The same table name in two schemas is doubt, too, unless a schema is named.
DELETE FROM atlas_object_types;
CREATE SCHEMA twin;
CREATE TABLE twin.accounts (id int PRIMARY KEY);
SELECT * FROM atlas_discover_object_types() WHERE object_type = 'ACCOUNT';
SELECT * FROM atlas_discover_object_types('twin');
SELECT * FROM atlas_discover_object_types('twin');
DELETE FROM atlas_object_types;

-- A partition is part of its table.
SET LOCAL client_min_messages = warning;
DROP SCHEMA names, unusable, doubt, twin CASCADE;
CREATE SCHEMA parts;
CREATE TABLE parts.account (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parts.accounts PARTITION OF parts.account DEFAULT;
SELECT * FROM atlas_discover_object_types('parts');
DELETE FROM atlas_object_types;

-- ---------------------------------------------------------------------
-- Only one's own tables
-- ---------------------------------------------------------------------
CREATE ROLE regress_atlas_owner;
GRANT EXECUTE ON FUNCTION atlas_discover_object_types TO regress_atlas_owner;
GRANT ALL ON SCHEMA parts TO regress_atlas_owner;
GRANT ALL ON ALL TABLES IN SCHEMA crm TO regress_atlas_owner;
SET LOCAL search_path = public;
SET ROLE regress_atlas_owner;
CREATE TABLE parts.customers (id int PRIMARY KEY);
SELECT * FROM atlas_discover_object_types();
RESET ROLE;
SELECT object_type, relation FROM atlas_object_types;

-- The built-in name does not have to be free: what is connected stays.
SELECT atlas_register_object_type('CHATBOT', 'parts.customers');
SELECT object_type, relation, registered FROM atlas_discover_object_types('crm') WHERE object_type = 'CHATBOT';
SELECT relation FROM atlas_object_types WHERE object_type = 'CHATBOT';
SELECT code, message FROM test.error_of($$SELECT * FROM atlas_discover_object_types('nowhere')$$);
ROLLBACK;
SELECT count(*) FROM atlas_object_types;
