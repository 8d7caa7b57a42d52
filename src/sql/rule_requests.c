/*
 * rule_requests.c
 *		Rules as the Events API takes them: what atlas_create_rule() and atlas_test_rule() do, with a body
 *		of JSON, and with what they say by NOTICE as a part of the result.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "base/event_id.h"
#include "base/identity.h"
#include "base/tenant.h"
#include "base/wakeup.h"
#include "rules/rule_json.h"
#include "rules/rule_trial.h"
#include "sql/arguments.h"

PG_FUNCTION_INFO_V1(atlas_create_rule_of_request);
PG_FUNCTION_INFO_V1(atlas_test_rule_of_request);

/* Columns of the result of a trial. */
enum
{
	FOUND_EVENT_ID,
	FOUND_OCCURRED_AT,
	FOUND_NAME,
	FOUND_OBJECT_ID,
	FOUND_EVENTS,
	FOUND_UNKNOWN,
	FOUND_SEARCHED_SINCE,
	FOUND_NCOLUMNS
};

/*
 * The rule of a request belongs to a role that all who may make rules in this way are members of, so that
 * each of them may change the rules of the others.
 */
static void
require_member_of(Oid owner)
{
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be a member of role \"%s\"", GetUserNameFromId(owner, false))));
}

/* Makes a rule for this owner. Returns its name, and what it comes to for the events that are there. */
Datum
atlas_create_rule_of_request(PG_FUNCTION_ARGS)
{
	Oid			owner = PG_GETARG_OID(1);
	AtlasRuleRequest request;
	AtlasTrial	trial;
	AtlasIdentity saved;
	TupleDesc	columns;
	HeapTupleHeader result;
	Datum		values[4];
	bool		nulls[4] = {0};

	require_member_of(owner);
	if (get_call_result_type(fcinfo, NULL, &columns) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	SPI_connect();
	atlas_refuse_code_of_owner();
	atlas_rule_from_json(PG_GETARG_TEXT_PP(0), false, &request);
	request.rule.tenant = atlas_session_tenant();
	atlas_become_owner(&saved);
	request.wish.owner = owner;
	atlas_rule_create(&request.wish, &request.rule);
	atlas_rule_try_new(&request.rule, &trial);
	atlas_return(&saved);
	atlas_wake_at_commit(0, 1);
	values[0] = PointerGetDatum(request.rule.name);
	values[1] = Int32GetDatum(trial.nevents);
	values[2] = Int32GetDatum(trial.ntrue);
	values[3] = Int32GetDatum(trial.nunknown);
	result = SPI_returntuple(heap_form_tuple(columns, values, nulls), columns);
	SPI_finish();
	PG_RETURN_HEAPTUPLEHEADER(result);
}

/* Which events a request asks for. */
static AtlasTrialRange
range_of_request(const AtlasRuleRequest *request)
{
	AtlasTrialRange range = {.most_events = request->max_events,.enough = PG_INT32_MAX};

	memset(&range.high, 0xff, UUID_LEN);
	if (request->since != DT_NOBEGIN)
		atlas_first_id(request->since, &range.low);
	if (request->until != DT_NOEND)
		atlas_first_id(request->until, &range.high);
	return range;
}

/* Returns a match as a row. */
static void
put_tried(ReturnSetInfo *result, const AtlasTrialHit *match)
{
	Datum		values[FOUND_NCOLUMNS] = {0};
	bool		nulls[FOUND_NCOLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[FOUND_EVENT_ID] = UUIDPGetDatum(&match->hit.event_id);
	values[FOUND_OCCURRED_AT] = TimestampTzGetDatum(match->hit.occurred_at);
	values[FOUND_NAME] = PointerGetDatum(match->name);
	values[FOUND_OBJECT_ID] = PointerGetDatum(match->hit.object_id);
	memset(nulls, false, sizeof(bool) * FOUND_EVENTS);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Returns what was looked at as the last row, which has no event. */
static void
put_summary(ReturnSetInfo *result, const AtlasTrial *trial)
{
	Datum		values[FOUND_NCOLUMNS] = {0};
	bool		nulls[FOUND_NCOLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[FOUND_EVENTS] = Int32GetDatum(trial->nevents);
	values[FOUND_UNKNOWN] = Int32GetDatum(trial->nunknown);
	values[FOUND_SEARCHED_SINCE] = TimestampTzGetDatum(trial->looked_since);
	nulls[FOUND_EVENTS] = nulls[FOUND_UNKNOWN] = false;
	nulls[FOUND_SEARCHED_SINCE] = !trial->is_cut;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Tries a rule on the events of the past. */
Datum
atlas_test_rule_of_request(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AtlasRuleRequest request;
	AtlasTrialRange range;
	AtlasTrial	trial;
	AtlasIdentity saved;
	List	   *matches;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	atlas_refuse_code_of_owner();
	atlas_rule_from_json(PG_GETARG_TEXT_PP(0), true, &request);
	request.rule.tenant = atlas_session_tenant();
	range = range_of_request(&request);
	atlas_become_owner(&saved);
	atlas_rule_try(&request.rule, &range, &trial);
	matches = atlas_trial_matches(&trial, &request.rule);
	foreach(cell, matches)
		put_tried(result, lfirst(cell));
	put_summary(result, &trial);
	atlas_return(&saved);
	SPI_finish();
	return (Datum) 0;
}
