/*
 * status.c
 *		atlas_status(): the row of the view atlas_events_status.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "worker/linking_status.h"

enum
{
	STATUS_PRELOADED,
	STATUS_WORKER_PID,
	STATUS_WORKER_STATE,
	STATUS_SUBMITTED,
	STATUS_LINKED,
	STATUS_NOT_FOUND,
	STATUS_FAILED,
	STATUS_QUEUE_DEPTH,
	STATUS_OLDEST_PENDING_AGE,
	STATUS_RULES,
	STATUS_RULES_SWITCHED_OFF,
	STATUS_ACTIONS_DUE,
	STATUS_ACTIONS_FAILED,
	STATUS_LAST_ERROR,
	STATUS_LAST_ERROR_AT,
	STATUS_ADVICE,
	STATUS_NCOLUMNS
};

PG_FUNCTION_INFO_V1(atlas_status);

/* Sets a column to a text, or to null if there is none. */
static void
put_text(int column, const char *value, Datum *values, bool *nulls)
{
	nulls[column] = value == NULL;
	if (value != NULL)
		values[column] = CStringGetTextDatum(value);
}

/* The status as a row. */
static HeapTuple
form_status(const AtlasLinkingStatus *status, TupleDesc tupdesc)
{
	Datum		values[STATUS_NCOLUMNS] = {0};
	bool		nulls[STATUS_NCOLUMNS] = {0};

	values[STATUS_PRELOADED] = BoolGetDatum(status->is_preloaded);
	values[STATUS_WORKER_PID] = Int32GetDatum(status->worker_pid);
	nulls[STATUS_WORKER_PID] = status->worker_pid == 0;
	put_text(STATUS_WORKER_STATE, status->worker_state, values, nulls);
	values[STATUS_SUBMITTED] = Int64GetDatum(status->submitted);
	values[STATUS_LINKED] = Int64GetDatum(status->linked);
	values[STATUS_NOT_FOUND] = Int64GetDatum(status->not_found);
	nulls[STATUS_SUBMITTED] = nulls[STATUS_LINKED] = nulls[STATUS_NOT_FOUND] = !status->has_counters;
	values[STATUS_FAILED] = Int64GetDatum(status->failed);
	values[STATUS_QUEUE_DEPTH] = Int64GetDatum(status->queue_depth);
	values[STATUS_OLDEST_PENDING_AGE] = IntervalPGetDatum(status->oldest_pending_age);
	nulls[STATUS_OLDEST_PENDING_AGE] = status->oldest_pending_age == NULL;
	values[STATUS_RULES] = Int64GetDatum(status->rules.enabled);
	values[STATUS_RULES_SWITCHED_OFF] = Int64GetDatum(status->rules.switched_off);
	values[STATUS_ACTIONS_DUE] = Int64GetDatum(status->rules.actions_due);
	values[STATUS_ACTIONS_FAILED] = Int64GetDatum(status->rules.actions_failed);
	put_text(STATUS_LAST_ERROR, status->last_error, values, nulls);
	values[STATUS_LAST_ERROR_AT] = TimestampTzGetDatum(status->last_error_at);
	nulls[STATUS_LAST_ERROR_AT] = status->last_error_at == 0;
	put_text(STATUS_ADVICE, status->advice, values, nulls);
	return heap_form_tuple(tupdesc, values, nulls);
}

Datum
atlas_status(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	AtlasLinkingStatus status;
	AtlasIdentity saved;
	Datum		result;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tupdesc = BlessTupleDesc(tupdesc);

	SPI_connect();
	atlas_become_owner(&saved);
	atlas_linking_status(&status);
	result = PointerGetDatum(SPI_returntuple(form_status(&status, tupdesc), tupdesc));
	atlas_return(&saved);
	SPI_finish();
	PG_RETURN_DATUM(result);
}
