/*
 * action_run.c
 *		Doing the action of a match.
 *
 * A function is called in a session of the owner of the rule, with that role's rights and no others. Settings
 * that it makes are undone when it returns. The rows of an action are looked up and changed with the rights of
 * the owner of the extension, by statements that nothing in the session has an influence on.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/retry.h"
#include "base/statement.h"
#include "base/subtransaction.h"
#include "conditions/event_facts.h"
#include "link/put_off.h"
#include "rules/action_function.h"
#include "rules/action_run.h"
#include "rules/rule_terms.h"
#include "store/log.h"
#include "store/queue.h"

#define COOLDOWNS_AT_ONCE 1000

int			atlas_action_timeout = 10000;

static AtlasStatement select_rule = {
	.sql =
	"SELECT rule_name, object_type, action_schema, action_name, channel, cooldown, owner, owner_id, owner_system"
	"  FROM @extschema@.atlas_rules"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_id OPERATOR(pg_catalog.=) $2 AND is_enabled",
	.nparameters = 2,
	.parameters = {TEXTOID, INT8OID},
};

static AtlasStatement select_matched_at = {
	.sql =
	"SELECT matched_at FROM @extschema@.atlas_rule_matches"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND event_id OPERATOR(pg_catalog.=) $2"
	"   AND match_id OPERATOR(pg_catalog.=) $3",
	.nparameters = 3,
	.parameters = {TEXTOID, UUIDOID, INT8OID},
};

static AtlasStatement select_event = {
	ATLAS_LOG_BY_KEYS(ATLAS_FACT_COLUMNS),
};

static AtlasStatement make_argument = {
	.sql =
	"SELECT pg_catalog.jsonb_build_object('rule', $1, 'matchId', $2, 'event', $3, 'object',"
	"                                     pg_catalog.jsonb_build_object('objectType', $4, 'objectId', $5), 'matchedAt', $6)",
	.nparameters = 6,
	.parameters = {TEXTOID, INT8OID, JSONBOID, TEXTOID, TEXTOID, TEXTOID},
};

/* No row: the cooldown that there is has not ended. */
static AtlasStatement begin_cooldown = {
	.sql =
	"INSERT INTO @extschema@.atlas_rule_cooldowns AS c (tenant_id, rule_id, object_id, ends_at)"
	" VALUES ($1, $2, $3, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) $4)"
	" ON CONFLICT (tenant_id, rule_id, object_id) DO UPDATE SET ends_at = excluded.ends_at"
	" WHERE c.ends_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()",
	.nparameters = 4,
	.parameters = {TEXTOID, INT8OID, TEXTOID, INTERVALOID},
};

/* Of any tenant. */
static AtlasStatement clean_cooldowns = {
	.sql =
	"DELETE FROM @extschema@.atlas_rule_cooldowns c"
	" USING (SELECT tenant_id, rule_id, object_id FROM @extschema@.atlas_rule_cooldowns"
	"         WHERE ends_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()"
	"         ORDER BY ends_at LIMIT $1 FOR UPDATE SKIP LOCKED) k"
	" WHERE c.tenant_id OPERATOR(pg_catalog.=) k.tenant_id AND c.rule_id OPERATOR(pg_catalog.=) k.rule_id"
	"   AND c.object_id OPERATOR(pg_catalog.=) k.object_id",
	.nparameters = 1,
	.parameters = {INT8OID},
};

/* The rule of an action, and what its function is given. */
typedef struct ActingRule
{
	const text *name;
	const text *object_type;
	const char *schema;
	const char *function;
	const char *channel;
	const Interval *cooldown;	/* NULL: none */
	Jsonb	   *argument;
} ActingRule;

/* The argument of the subtransaction. */
typedef struct ActionRun
{
	const AtlasAction *action;
	TimestampTz started_at;
} ActionRun;

/* ----- What there is to know ----- */

/* A column of the first row as a copied string; NULL if it is null. */
static char *
string_column(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

/* Reads the rule. Returns false if it is not there any more, is off, or has gone to another owner. */
static bool
read_rule(const AtlasAction *action, ActingRule *rule)
{
	Datum		values[] = {PointerGetDatum(action->tenant), Int64GetDatum(action->rule_id)};
	Datum		cooldown;
	bool		isnull;

	memset(rule, 0, sizeof(*rule));
	if (atlas_execute(&select_rule, values, NULL, false, 0) == 0)
		return false;
	rule->name = atlas_result_text(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	rule->object_type = atlas_result_text(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	rule->schema = string_column(3);
	rule->function = string_column(4);
	rule->channel = string_column(5);
	cooldown = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 6, &isnull);
	if (!isnull)
		rule->cooldown = DatumGetIntervalP(cooldown);
	return rule->channel != NULL ||
		atlas_rule_owner(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 7) == GetSessionUserId();
}

/* The event as conditions see it; NULL if it is not in the log any more. */
static Jsonb *
event_of_action(const AtlasAction *action)
{
	AtlasEventKey key = {.id = action->event_id,.tenant = action->tenant};
	AtlasEventFacts facts;

	if (atlas_log_select(&select_event, &key, 1) == 0)
		return NULL;
	atlas_event_facts_take(&facts, SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	return atlas_event_as_jsonb(&facts, ATLAS_ALL_FACTS);
}

/* When it was matched, in the form of the times of the event; NULL if the match is not there any more. */
static text *
read_matched_at(const AtlasAction *action)
{
	Datum		values[] = {PointerGetDatum(action->tenant), UUIDPGetDatum(&action->event_id), Int64GetDatum(action->match_id)};
	char		buffer[MAXDATELEN + 1];
	int			utc = 0;
	bool		isnull;

	if (atlas_execute(&select_matched_at, values, NULL, false, 0) == 0)
		return NULL;
	JsonEncodeDateTime(buffer, SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull),
					   TIMESTAMPTZOID, &utc);
	return cstring_to_text(buffer);
}

/* Makes what the function is given. Returns false if the event or the match is not there any more. */
static bool
read_argument(const AtlasAction *action, ActingRule *rule)
{
	Jsonb	   *event = event_of_action(action);
	text	   *matched_at = read_matched_at(action);
	Datum		values[6];
	bool		isnull;

	if (event == NULL || matched_at == NULL)
		return false;
	values[0] = PointerGetDatum(rule->name);
	values[1] = Int64GetDatum(action->match_id);
	values[2] = JsonbPGetDatum(event);
	values[3] = PointerGetDatum(rule->object_type);
	values[4] = PointerGetDatum(action->object_id);
	values[5] = PointerGetDatum(matched_at);
	(void) atlas_execute(&make_argument, values, NULL, true, 0);
	rule->argument = DatumGetJsonbPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	return true;
}

/* ----- Doing it ----- */

/* Returns false if the rule has acted for this object a short time ago. */
static bool
may_act_again(const AtlasAction *action, const ActingRule *rule)
{
	Datum		values[] = {
		PointerGetDatum(action->tenant), Int64GetDatum(action->rule_id), PointerGetDatum(action->object_id),
		PointerGetDatum(rule->cooldown)
	};

	return rule->cooldown == NULL || atlas_execute(&begin_cooldown, values, NULL, false, 0) > 0;
}

/*
 * Calls the function as the role of the session, with the settings of the session, and undoes what it does to them. The
 * tenant becomes that of the session, so that RESET ALL finds no other, nor does what is left for the end of the
 * transaction; so does the depth.
 */
static void
call_function(const AtlasAction *action, const ActingRule *rule)
{
	Oid			user;
	int			security_context;
	int			guc_level;

	SetConfigOption("atlas_events.tenant", text_to_cstring(action->tenant), PGC_SUSET, PGC_S_OVERRIDE);
	guc_level = NewGUCNestLevel();
	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(GetSessionUserId(), 0);
	atlas_event_depth = action->depth + 1;
	if (atlas_action_timeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, atlas_action_timeout);

	atlas_action_function_call(rule->schema, rule->function, rule->argument);

	/* A cursor WITH HOLD would be read to its end when the transaction is committed. */
	PortalHashTableDeleteAll();
	CHECK_FOR_INTERRUPTS();
	disable_timeout(STATEMENT_TIMEOUT, false);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, security_context);
	CommandCounterIncrement();
}

/* The body of the subtransaction. */
static void
act(void *argument)
{
	ActionRun  *run = argument;
	const AtlasAction *action = run->action;
	ActingRule	rule;

	if (!atlas_action_take(action))
		return;
	if (!read_rule(action, &rule) ||
		(rule.channel == NULL && (rule.function == NULL || !read_argument(action, &rule))))
	{
		atlas_action_note(action, ATLAS_ACTION_CANCELLED);
		return;
	}
	if (!may_act_again(action, &rule))
	{
		atlas_action_note(action, ATLAS_ACTION_HELD_BACK);
		return;
	}
	if (rule.channel != NULL)
		Async_Notify(rule.channel, psprintf(INT64_FORMAT, action->match_id));
	else
		call_function(action, &rule);
	atlas_action_note(action, ATLAS_ACTION_DONE);
}

/* What is said of an error. */
static const char *
message_of(const ErrorData *error, const ActionRun *run)
{
	if (atlas_is_cancel(error) && atlas_action_timeout > 0 &&
		TimestampDifferenceExceeds(run->started_at, GetCurrentTimestamp(), atlas_action_timeout))
		return psprintf("it took longer than %d ms (atlas_events.action_timeout)", atlas_action_timeout);
	return error->message;
}

void
atlas_action_failed(const AtlasAction *action, const char *message, bool tries_for_ever)
{
	if (atlas_action_fail(action, message, tries_for_ever))
		ereport(LOG,
				(errmsg("the action for match %s of a rule has failed %d times: %s",
						psprintf(INT64_FORMAT, action->match_id), action->attempts, message),
				 errhint("Repair the cause and call atlas_retry_failed().")));
}

/* Has an action FAILED that has ended its process at the last attempt that it had. */
static void
give_up(const AtlasAction *action)
{
	AtlasAction last = *action;

	last.attempts--;
	atlas_action_failed(&last, ATLAS_ACTION_ENDED_PROCESS, false);
}

void
atlas_action_run(const AtlasAction *action, bool tries_for_ever)
{
	ActionRun	run = {.action = action,.started_at = GetCurrentTimestamp()};
	ErrorData  *error;

	if (!tries_for_ever && action->attempts > atlas_max_attempts)
	{
		give_up(action);
		return;
	}
	error = atlas_try(act, &run);
	if (error == NULL)
		return;
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	atlas_action_failed(action, message_of(error, &run), tries_for_ever);
}

/* As DISCARD ALL does it. Settings were undone already, and no worker can LISTEN. */
void
atlas_action_session_clean(void)
{
	PortalHashTableDeleteAll();
	DropAllPreparedStatements();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetTempTableNamespace();
	ResetSequenceCaches();
}

bool
atlas_cooldowns_clean(void)
{
	Datum		value = Int64GetDatum(COOLDOWNS_AT_ONCE);

	return atlas_execute(&clean_cooldowns, &value, NULL, false, 0) == COOLDOWNS_AT_ONCE;
}
