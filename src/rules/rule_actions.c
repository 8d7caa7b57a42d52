/*
 * rule_actions.c
 *		Actions of matches that are still to be done, or have failed.
 *
 *	match ─► a row that is due ─► claimed: due later, and the attempt counted ─► done: no row
 *	                     ▲                          │
 *	                     └──── when it is later ◄───┴─► after max_attempts: FAILED
 *
 * An action that ended its process leaves its row as it was claimed. From then on it is claimed by itself, so that
 * it costs no other action an attempt, and the claim that would be one too many has it FAILED.
 *
 * The row of an action is taken out in the transaction that does it. What an action does in this database is so
 * done once; what it does elsewhere, at least once. The rows of all tenants are looked at together.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/retry.h"
#include "base/statement.h"
#include "link/put_off.h"
#include "rules/rule.h"
#include "rules/rule_actions.h"
#include "store/rows.h"

#define ACTIONS_AT_ONCE 1000	/* that are changed in one statement */
#define FIRST_BACKOFF_SECONDS 10
#define MAX_BACKOFF_SECONDS 3600

int			atlas_rule_match_limit = 1000;

static bool were_written = false;

enum
{
	ACTION_EVENT_ID,
	ACTION_MATCH_ID,
	ACTION_RULE_ID,
	ACTION_NEXT_ATTEMPT_AT,
	ACTION_ATTEMPTS,
	ACTION_DEPTH,
	ACTION_TENANT_ID,
	ACTION_OBJECT_ID,
	ACTION_SESSION_ROLE,
	ACTION_LAST_ERROR
};

/* The columns, as the install script has them. */
static AtlasTable actions_table = {
	.id = ATLAS_RULE_ACTIONS,
	.ncolumns = ACTION_LAST_ERROR + 1,
	.columns = {
		[ACTION_EVENT_ID] = {"event_id", UUIDOID},
		[ACTION_MATCH_ID] = {"match_id", INT8OID},
		[ACTION_RULE_ID] = {"rule_id", INT8OID},
		[ACTION_NEXT_ATTEMPT_AT] = {"next_attempt_at", TIMESTAMPTZOID},
		[ACTION_ATTEMPTS] = {"attempts", INT2OID},
		[ACTION_DEPTH] = {"depth", INT2OID},
		[ACTION_TENANT_ID] = {"tenant_id", TEXTOID},
		[ACTION_OBJECT_ID] = {"object_id", TEXTOID},
		[ACTION_SESSION_ROLE] = {"session_role", TEXTOID},
		[ACTION_LAST_ERROR] = {"last_error", TEXTOID},
	},
};

/* Finds the row of an action by its key. */
#define IS_ACTION \
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND match_id OPERATOR(pg_catalog.=) $2"

/* The match of an action a, in the partition that has its event. */
#define IS_MATCH_OF(a) \
	"m.tenant_id OPERATOR(pg_catalog.=) " a ".tenant_id AND m.event_id OPERATOR(pg_catalog.=) " a ".event_id" \
	" AND m.match_id OPERATOR(pg_catalog.=) " a ".match_id"

/* Of any tenant. */
static AtlasStatement make_due = {
	.sql =
	"UPDATE @extschema@.atlas_rule_actions a SET next_attempt_at = NULL"
	"  FROM (SELECT tenant_id, match_id FROM @extschema@.atlas_rule_actions"
	"         WHERE next_attempt_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()"
	"         ORDER BY next_attempt_at, match_id LIMIT $1 FOR UPDATE SKIP LOCKED) k"
	" WHERE a.tenant_id OPERATOR(pg_catalog.=) k.tenant_id AND a.match_id OPERATOR(pg_catalog.=) k.match_id",
	.nparameters = 1,
	.parameters = {INT8OID},
};

/* Of any tenant. A loose index scan: one entry for each role. */
#define SELECT_ROLE(operator) \
	"SELECT session_role FROM @extschema@.atlas_rule_actions" \
	" WHERE next_attempt_at IS NULL AND session_role OPERATOR(pg_catalog." operator ") $1" \
	" ORDER BY session_role, rule_id, match_id LIMIT 1"

static AtlasStatement first_role = {SELECT_ROLE(">="), 1, {TEXTOID}};
static AtlasStatement next_role = {SELECT_ROLE(">"), 1, {TEXTOID}};

/* Of any tenant. A rule that is not there any more is returned as well: its actions are cancelled. */
static AtlasStatement next_rule = {
	.sql =
	"SELECT a.rule_id, a.tenant_id,"
	"       NOT EXISTS (SELECT FROM @extschema@.atlas_rules r"
	"                    WHERE r.tenant_id OPERATOR(pg_catalog.=) a.tenant_id"
	"                      AND r.rule_id OPERATOR(pg_catalog.=) a.rule_id"
	"                      AND (r.system_identifier, r.database_id) OPERATOR(pg_catalog.<>) ($3, $4))"
	"  FROM (SELECT rule_id, tenant_id FROM @extschema@.atlas_rule_actions"
	"         WHERE next_attempt_at IS NULL AND session_role OPERATOR(pg_catalog.=) $1"
	"           AND rule_id OPERATOR(pg_catalog.>) $2"
	"         ORDER BY session_role, rule_id, match_id LIMIT 1) a",
	.nparameters = 4,
	.parameters = {TEXTOID, INT8OID, INT8OID, OIDOID},
};

/*
 * Of any tenant, but of one rule, whose number no other tenant has. The first is alone if it was attempted before;
 * others that were are left for later.
 */
static AtlasStatement claim_actions = {
	.sql =
	"WITH f AS MATERIALIZED (SELECT match_id, attempts FROM @extschema@.atlas_rule_actions"
	"                         WHERE next_attempt_at IS NULL AND session_role OPERATOR(pg_catalog.=) $1"
	"                           AND rule_id OPERATOR(pg_catalog.=) $2"
	"                         ORDER BY session_role, rule_id, match_id LIMIT 1)"
	" UPDATE @extschema@.atlas_rule_actions a"
	"   SET last_error = $5,"
	"       next_attempt_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval("
	"           secs => LEAST($4 OPERATOR(pg_catalog.*) pg_catalog.power(2, LEAST(a.attempts, 20)), $6)),"
	"       attempts = LEAST(a.attempts::pg_catalog.int4 OPERATOR(pg_catalog.+) 1, 32767)::pg_catalog.int2"
	"  FROM (SELECT tenant_id, match_id FROM @extschema@.atlas_rule_actions"
	"         WHERE next_attempt_at IS NULL AND session_role OPERATOR(pg_catalog.=) $1"
	"           AND rule_id OPERATOR(pg_catalog.=) $2"
	"           AND (attempts OPERATOR(pg_catalog.=) 0"
	"                OR match_id OPERATOR(pg_catalog.=) (SELECT match_id FROM f))"
	"         ORDER BY session_role, rule_id, match_id"
	"         LIMIT (SELECT CASE WHEN attempts OPERATOR(pg_catalog.=) 0 THEN $3 ELSE 1 END FROM f)"
	"         FOR UPDATE SKIP LOCKED) k"
	" WHERE a.tenant_id OPERATOR(pg_catalog.=) k.tenant_id AND a.match_id OPERATOR(pg_catalog.=) k.match_id"
	" RETURNING a.match_id, a.event_id, a.attempts, a.depth, a.tenant_id, a.object_id",
	.nparameters = 6,
	.parameters = {TEXTOID, INT8OID, INT8OID, FLOAT8OID, TEXTOID, FLOAT8OID},
};

static AtlasStatement take_action = {
	.sql =
	"DELETE FROM @extschema@.atlas_rule_actions" IS_ACTION,
	.nparameters = 2,
	.parameters = {TEXTOID, INT8OID},
};

static AtlasStatement put_back_action = {
	.sql =
	"UPDATE @extschema@.atlas_rule_actions"
	"   SET next_attempt_at = NULL, last_error = NULL,"
	"       attempts = (attempts::pg_catalog.int4 OPERATOR(pg_catalog.-) 1)::pg_catalog.int2" IS_ACTION,
	.nparameters = 2,
	.parameters = {TEXTOID, INT8OID},
};

static AtlasStatement note_action = {
	.sql =
	"UPDATE @extschema@.atlas_rule_matches"
	"   SET action_status = $4, acted_at = pg_catalog.clock_timestamp()" IS_ACTION
	"   AND event_id OPERATOR(pg_catalog.=) $3",
	.nparameters = 4,
	.parameters = {TEXTOID, INT8OID, UUIDOID, TEXTOID},
};

static AtlasStatement fail_action = {
	.sql =
	"UPDATE @extschema@.atlas_rule_actions SET next_attempt_at = $3, last_error = $4, attempts = $5" IS_ACTION,
	.nparameters = 5,
	.parameters = {TEXTOID, INT8OID, TIMESTAMPTZOID, TEXTOID, INT2OID},
};

/* Of one rule, whose number no other tenant has. */
static AtlasStatement fail_of_rule = {
	.sql =
	"WITH a AS (UPDATE @extschema@.atlas_rule_actions a SET next_attempt_at = 'infinity', last_error = $3"
	"             FROM (SELECT tenant_id, match_id FROM @extschema@.atlas_rule_actions"
	"                    WHERE next_attempt_at IS NULL AND session_role OPERATOR(pg_catalog.=) $1"
	"                      AND rule_id OPERATOR(pg_catalog.=) $2"
	"                    ORDER BY session_role, rule_id, match_id LIMIT $4 FOR UPDATE SKIP LOCKED) k"
	"            WHERE a.tenant_id OPERATOR(pg_catalog.=) k.tenant_id AND a.match_id OPERATOR(pg_catalog.=) k.match_id"
	"           RETURNING a.tenant_id, a.match_id, a.event_id)"
	" UPDATE @extschema@.atlas_rule_matches m"
	"    SET action_status = '" ATLAS_ACTION_FAILED "', acted_at = pg_catalog.clock_timestamp()"
	"   FROM a WHERE " IS_MATCH_OF("a"),
	.nparameters = 4,
	.parameters = {TEXTOID, INT8OID, TEXTOID, INT8OID},
};

/* Of any tenant: whoever repairs the cause repairs it for all of them. */
static AtlasStatement retry_failed = {
	.sql =
	"WITH a AS (UPDATE @extschema@.atlas_rule_actions SET next_attempt_at = NULL, attempts = 0, last_error = NULL"
	"            WHERE next_attempt_at OPERATOR(pg_catalog.=) 'infinity'"
	"              AND ($1 IS NULL OR event_id OPERATOR(pg_catalog.=) $1)"
	"           RETURNING tenant_id, match_id, event_id),"
	"     m AS (UPDATE @extschema@.atlas_rule_matches m SET action_status = '" ATLAS_ACTION_PENDING "', acted_at = NULL"
	"             FROM a WHERE " IS_MATCH_OF("a") ")"
	" SELECT pg_catalog.count(*) FROM a",
	.nparameters = 1,
	.parameters = {UUIDOID},
};

/* Of all tenants. */
static AtlasStatement resume_rules = {
	.sql =
	"UPDATE @extschema@.atlas_rules SET system_identifier = $1, database_id = $2"
	" WHERE (system_identifier, database_id) OPERATOR(pg_catalog.<>) ($1, $2)",
	.nparameters = 2,
	.parameters = {INT8OID, OIDOID},
};

/* ----- Writing ----- */

/* Counts a match of a rule. One that has too many within a minute may set itself off. */
static void
count_match(AtlasRule *rule, TimestampTz now)
{
	if (atlas_rule_match_limit == 0)
		return;
	if (rule->matches == 0 || now < rule->minute || TimestampDifferenceExceeds(rule->minute, now, 60000))
	{
		rule->minute = now;
		rule->matches = 0;
	}
	if (++rule->matches > atlas_rule_match_limit && rule->tally.fault == NULL)
		rule->tally.fault = psprintf("it matched more than %d times within a minute (atlas_events.rule_match_limit)",
									 atlas_rule_match_limit);
}

void
atlas_actions_write(const List *matches)
{
	TimestampTz now = GetCurrentTimestamp();
	AtlasRows	rows;
	ListCell   *cell;

	atlas_rows_init(&rows, &actions_table, list_length(matches));
	foreach(cell, matches)
	{
		const AtlasHit *match = lfirst(cell);

		if (match->rule->session_role == NULL)
			continue;
		count_match(match->rule, now);
		atlas_rows_add(&rows);
		atlas_rows_set_pointer(&rows, ACTION_EVENT_ID, &match->event_id);
		atlas_rows_set(&rows, ACTION_MATCH_ID, Int64GetDatum(match->match_id));
		atlas_rows_set(&rows, ACTION_RULE_ID, Int64GetDatum(match->rule->id));
		atlas_rows_set(&rows, ACTION_ATTEMPTS, Int16GetDatum(0));
		atlas_rows_set(&rows, ACTION_DEPTH, Int16GetDatum(match->depth));
		atlas_rows_set_pointer(&rows, ACTION_TENANT_ID, match->rule->tenant);
		atlas_rows_set_pointer(&rows, ACTION_OBJECT_ID, match->object_id);
		atlas_rows_set_pointer(&rows, ACTION_SESSION_ROLE, match->rule->session_role);
	}
	atlas_rows_write(&rows);
	were_written |= rows.nrows > 0;
}

bool
atlas_actions_were_written(void)
{
	bool		result = were_written;

	were_written = false;
	return result;
}

/* ----- What is due ----- */

bool
atlas_actions_make_due(void)
{
	Datum		value = Int64GetDatum(ACTIONS_AT_ONCE);
	uint64		count = atlas_execute(&make_due, &value, NULL, false, 0);

	were_written |= count > 0;
	return count == ACTIONS_AT_ONCE;
}

text *
atlas_next_acting_role(const text *after)
{
	Datum		value = PointerGetDatum(after != NULL ? after : cstring_to_text(""));

	if (atlas_execute(after == NULL ? &first_role : &next_role, &value, NULL, false, 1) == 0)
		return NULL;
	return atlas_result_text(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

int64
atlas_next_acting_rule(const text *session_role, int64 after, text **tenant)
{
	Datum		values[] = {
		PointerGetDatum(session_role), Int64GetDatum(after), Int64GetDatum((int64) GetSystemIdentifier()),
		ObjectIdGetDatum(MyDatabaseId)
	};
	bool		isnull;
	bool		acts_here;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (atlas_execute(&next_rule, values, NULL, false, 1) == 0)
			return 0;
		values[1] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		*tenant = atlas_result_text(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
		acts_here = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
		SPI_freetuptable(SPI_tuptable);
	} while (!acts_here);
	return DatumGetInt64(values[1]);
}

/* ----- Attempts ----- */

/* When it is tried again after so many attempts. */
static TimestampTz
next_attempt(int attempts)
{
	return atlas_backoff(GetCurrentTimestamp(), FIRST_BACKOFF_SECONDS, attempts, MAX_BACKOFF_SECONDS);
}

int
atlas_actions_claim(const text *session_role, int64 rule_id, int most, AtlasAction *actions)
{
	Datum		values[] = {
		PointerGetDatum(session_role), Int64GetDatum(rule_id), Int64GetDatum(most),
		Float8GetDatum(FIRST_BACKOFF_SECONDS), CStringGetTextDatum(ATLAS_ACTION_ENDED_PROCESS),
		Float8GetDatum(MAX_BACKOFF_SECONDS)
	};
	int			nactions = (int) atlas_execute(&claim_actions, values, NULL, false, 0);
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	bool		isnull;

	for (int i = 0; i < nactions; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		actions[i].rule_id = rule_id;
		actions[i].match_id = DatumGetInt64(SPI_getbinval(row, tupdesc, 1, &isnull));
		actions[i].event_id = *DatumGetUUIDP(SPI_getbinval(row, tupdesc, 2, &isnull));
		actions[i].attempts = DatumGetInt16(SPI_getbinval(row, tupdesc, 3, &isnull));
		actions[i].depth = DatumGetInt16(SPI_getbinval(row, tupdesc, 4, &isnull));
		actions[i].tenant = atlas_result_text(row, tupdesc, 5);
		actions[i].object_id = atlas_result_text(row, tupdesc, 6);
	}
	/* An attempt that takes the server down must have been counted. A notification cannot. */
	if (nactions > 0 && VARSIZE_ANY_EXHDR(session_role) > 0)
		ForceSyncCommit();
	return nactions;
}

/* The parameters that find an action. */
#define KEY_VALUES(action) \
	PointerGetDatum((action)->tenant), Int64GetDatum((action)->match_id)

bool
atlas_action_take(const AtlasAction *action)
{
	Datum		values[] = {KEY_VALUES(action)};

	return atlas_execute(&take_action, values, NULL, false, 0) > 0;
}

void
atlas_action_put_back(const AtlasAction *action)
{
	Datum		values[] = {KEY_VALUES(action)};

	(void) atlas_execute(&put_back_action, values, NULL, false, 0);
}

void
atlas_action_note(const AtlasAction *action, const char *status)
{
	Datum		values[] = {KEY_VALUES(action), UUIDPGetDatum(&action->event_id), CStringGetTextDatum(status)};

	(void) atlas_execute(&note_action, values, NULL, false, 0);
}

bool
atlas_action_fail(const AtlasAction *action, const char *message, bool tries_for_ever)
{
	bool		is_last = !tries_for_ever && action->attempts >= atlas_max_attempts;
	Datum		values[] = {
		KEY_VALUES(action), TimestampTzGetDatum(is_last ? DT_NOEND : next_attempt(action->attempts)),
		CStringGetTextDatum(message), Int16GetDatum(action->attempts)
	};

	if (atlas_execute(&fail_action, values, NULL, false, 0) == 0)
		return false;
	if (is_last)
		atlas_action_note(action, ATLAS_ACTION_FAILED);
	return is_last;
}

bool
atlas_actions_fail_of_rule(const text *session_role, int64 rule_id, const char *message)
{
	Datum		values[] = {
		PointerGetDatum(session_role), Int64GetDatum(rule_id), CStringGetTextDatum(message),
		Int64GetDatum(ACTIONS_AT_ONCE)
	};

	return atlas_execute(&fail_of_rule, values, NULL, false, 0) == ACTIONS_AT_ONCE;
}

uint64
atlas_actions_retry_failed(const pg_uuid_t *event_id)
{
	Datum		value = UUIDPGetDatum(event_id);
	bool		isnull;

	(void) atlas_execute(&retry_failed, &value, event_id == NULL ? "n" : " ", false, 0);
	return (uint64) DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

void
atlas_actions_resume(void)
{
	Datum		values[] = {Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId)};

	(void) atlas_execute(&resume_rules, values, NULL, false, 0);
}
