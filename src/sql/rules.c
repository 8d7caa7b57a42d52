/*
 * rules.c
 *		The SQL functions about rules: atlas_create_rule(), atlas_drop_rule(), atlas_enable_rule(),
 *		atlas_resume_actions(), atlas_test_rule(), and the trigger of their table.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonpath.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "base/shmem.h"
#include "base/tenant.h"
#include "base/wakeup.h"
#include "rules/rule_actions.h"
#include "rules/rule_definition.h"
#include "rules/rule_trial.h"
#include "sql/arguments.h"

PG_FUNCTION_INFO_V1(atlas_create_rule);
PG_FUNCTION_INFO_V1(atlas_drop_rule);
PG_FUNCTION_INFO_V1(atlas_enable_rule);
PG_FUNCTION_INFO_V1(atlas_resume_actions);
PG_FUNCTION_INFO_V1(atlas_test_rule);
PG_FUNCTION_INFO_V1(atlas_rules_changed);

#define TRIAL_NCOLUMNS 5

/* Arguments of atlas_create_rule() that come after the name of the rule. */
enum
{
	RULE_OBJECT_TYPE,
	RULE_EVENT_NAME,
	RULE_CONDITION,
	RULE_TIMES,
	RULE_WITHIN
};

/* Its last arguments, counted from the first. */
enum
{
	RULE_ACTION = 7,
	RULE_CHANNEL,
	RULE_COOLDOWN
};

enum
{
	TRIAL_SINCE = RULE_WITHIN + 1,
	TRIAL_UNTIL,
	TRIAL_MAX_EVENTS,
	TRIAL_ROLE
};

/* Reads what both functions are given, from this argument on. */
static void
wish_arguments(FunctionCallInfo fcinfo, int first, int role, AtlasRuleWish *wish)
{
	wish->object_type = atlas_text_argument(fcinfo, first + RULE_OBJECT_TYPE);
	wish->event_name = atlas_text_argument(fcinfo, first + RULE_EVENT_NAME);
	if (!PG_ARGISNULL(first + RULE_CONDITION))
		wish->condition = PG_GETARG_JSONPATH_P(first + RULE_CONDITION);
	wish->has_times = !PG_ARGISNULL(first + RULE_TIMES);
	if (wish->has_times)
		wish->times = PG_GETARG_INT32(first + RULE_TIMES);
	if (!PG_ARGISNULL(first + RULE_WITHIN))
		wish->within = PG_GETARG_INTERVAL_P(first + RULE_WITHIN);
	wish->role = atlas_text_argument(fcinfo, role);
}

/* Says what the condition of a rule comes to for the events that are there. */
static void
report_trial(const AtlasTrial *trial)
{
	ereport(NOTICE,
			(errmsg("of the last %d events of this kind the condition is true for %d, and unknown for %d",
					trial->nevents, trial->ntrue, trial->nunknown)));
}

Datum
atlas_create_rule(PG_FUNCTION_ARGS)
{
	AtlasRuleWish wish = {.name = atlas_text_argument(fcinfo, 0),.owner = GetUserId()};
	AtlasRule	rule;
	AtlasTrial	trial;
	AtlasIdentity saved;

	wish_arguments(fcinfo, 1, 6, &wish);
	if (!PG_ARGISNULL(RULE_ACTION))
		wish.action = PG_GETARG_OID(RULE_ACTION);
	wish.channel = atlas_text_argument(fcinfo, RULE_CHANNEL);
	if (!PG_ARGISNULL(RULE_COOLDOWN))
		wish.cooldown = PG_GETARG_INTERVAL_P(RULE_COOLDOWN);
	SPI_connect();
	atlas_refuse_code_of_owner();
	atlas_rule_check(&wish, true, &rule);
	rule.tenant = atlas_session_tenant();
	atlas_become_owner(&saved);
	atlas_rule_create(&wish, &rule);
	if (rule.has_condition)
	{
		atlas_rule_try_new(&rule, &trial);
		report_trial(&trial);
	}
	atlas_return(&saved);
	SPI_finish();
	if (atlas_shared == NULL)
		ereport(WARNING,
				(errmsg("the rule is not in effect, because the library is not preloaded"),
				 errhint("Add atlas_events to shared_preload_libraries and restart.")));
	atlas_wake_at_commit(0, 1);
	PG_RETURN_VOID();
}

Datum
atlas_drop_rule(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	AtlasIdentity saved;

	SPI_connect();
	atlas_become_owner(&saved);
	atlas_rule_drop(atlas_session_tenant(), PG_GETARG_TEXT_PP(0), role);
	atlas_return(&saved);
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
atlas_enable_rule(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	AtlasIdentity saved;

	SPI_connect();
	atlas_become_owner(&saved);
	atlas_rule_enable(atlas_session_tenant(), PG_GETARG_TEXT_PP(0), PG_GETARG_BOOL(1), role);
	atlas_return(&saved);
	SPI_finish();
	atlas_wake_at_commit(0, 1);
	PG_RETURN_VOID();
}

Datum
atlas_resume_actions(PG_FUNCTION_ARGS)
{
	AtlasIdentity saved;

	SPI_connect();
	atlas_become_owner(&saved);
	atlas_actions_resume();
	atlas_return(&saved);
	SPI_finish();
	atlas_wake_at_commit(0, 1);
	PG_RETURN_VOID();
}

/* Returns a match as a row. */
static void
put_match(ReturnSetInfo *result, const AtlasTrial *trial, const AtlasTrialHit *match)
{
	Datum		values[TRIAL_NCOLUMNS];
	bool		nulls[TRIAL_NCOLUMNS] = {0};

	values[0] = UUIDPGetDatum(&match->hit.event_id);
	values[1] = TimestampTzGetDatum(match->hit.occurred_at);
	values[2] = PointerGetDatum(match->name);
	values[3] = PointerGetDatum(match->hit.object_id);
	values[4] = TimestampTzGetDatum(trial->looked_since);
	nulls[4] = !trial->is_cut;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
atlas_test_rule(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const AtlasRangeArguments places = {TRIAL_SINCE, TRIAL_UNTIL, -1};
	AtlasRuleWish wish = {0};
	AtlasTrialRange range = {.enough = PG_INT32_MAX};
	AtlasTrial	trial;
	AtlasRule	rule;
	AtlasIdentity saved;
	List	   *matches;
	ListCell   *cell;

	wish_arguments(fcinfo, 0, TRIAL_ROLE, &wish);
	range.most_events = atlas_count_argument(fcinfo, TRIAL_MAX_EVENTS, 10000, "/maxEvents");
	atlas_range_arguments(fcinfo, &places, &range.low, &range.high);
	InitMaterializedSRF(fcinfo, 0);

	SPI_connect();
	atlas_refuse_code_of_owner();
	atlas_rule_check(&wish, false, &rule);
	rule.tenant = atlas_session_tenant();
	atlas_become_owner(&saved);
	atlas_rule_try(&rule, &range, &trial);
	matches = atlas_trial_matches(&trial, &rule);
	foreach(cell, matches)
		put_match(result, &trial, lfirst(cell));
	if (trial.nunknown > 0)
		report_trial(&trial);
	atlas_return(&saved);
	SPI_finish();
	return (Datum) 0;
}

/* Tells every session that rules have changed; this one at its next command. */
Datum
atlas_rules_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("atlas_rules_changed() is a trigger function")));

	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}
