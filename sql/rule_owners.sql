-- Whose a rule is when roles go, and others come with their names. Everything is undone at the end.
BEGIN;
-- Whether the library is preloaded makes a warning of difference.
SET LOCAL client_min_messages = error;
-- A role that gets the name of the owner is another one; the owner stays it under another name
CREATE ROLE regress_rule_owner;
CREATE ROLE regress_rule_gone;
GRANT EXECUTE ON FUNCTION atlas_create_rule, atlas_enable_rule, atlas_drop_rule TO PUBLIC;
SET LOCAL ROLE regress_rule_owner;
SELECT atlas_create_rule('of the owner', 'CUSTOMER', 'Nothing');
SET LOCAL ROLE regress_rule_gone;
SELECT atlas_create_rule('of nobody', 'CUSTOMER', 'Nothing');
RESET ROLE;
ALTER ROLE regress_rule_owner RENAME TO regress_rule_renamed;
CREATE ROLE regress_rule_owner;
DROP ROLE regress_rule_gone;
CREATE ROLE regress_rule_gone;
SET LOCAL ROLE regress_rule_owner;
SELECT code, message FROM test.error_of($$SELECT atlas_enable_rule('of the owner', false)$$);
SET LOCAL ROLE regress_rule_gone;
SELECT code, message FROM test.error_of($$SELECT atlas_drop_rule('of nobody')$$);
SET LOCAL ROLE regress_rule_renamed;
SELECT atlas_enable_rule('of the owner', false);
RESET ROLE;
-- In another server, to which the rules were brought by a dump, there is nothing but the name
UPDATE atlas_rules SET owner_system = owner_system + 1;
SET LOCAL ROLE regress_rule_renamed;
SELECT code, message FROM test.error_of($$SELECT atlas_drop_rule('of the owner')$$);
SET LOCAL ROLE regress_rule_owner;
SELECT atlas_drop_rule('of the owner');
RESET ROLE;
SELECT atlas_drop_rule('of nobody');

ROLLBACK;
