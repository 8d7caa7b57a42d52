/*
 * search_admin.c
 *		The documents by which events are found, for operators: atlas_rebuild_search()
 *		and the row of the view atlas_search_status.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "base/identity.h"
#include "base/shmem.h"
#include "base/wakeup.h"
#include "store/work.h"
#include "work/rebuild.h"
#include "work/search_status.h"

PG_FUNCTION_INFO_V1(atlas_rebuild_search);
PG_FUNCTION_INFO_V1(atlas_search_progress);

enum
{
	SEARCH_IN_EFFECT,
	SEARCH_WAITING,
	SEARCH_OLDEST_AGE,
	SEARCH_MISSING_SINCE,
	SEARCH_REBUILD_SINCE,
	SEARCH_REQUESTED_AT,
	SEARCH_STARTED_AT,
	SEARCH_FINISHED_AT,
	SEARCH_POSITION,
	SEARCH_DOCUMENTS,
	SEARCH_NCOLUMNS
};

/* Nobody would make the documents. */
static void
require_search(void)
{
	if (!atlas_search_is_in_effect())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("search is not in effect, so no documents are made"),
				 atlas_shared == NULL ?
				 errhint("Add atlas_events to shared_preload_libraries and restart.") :
				 errhint("Set atlas_events.search to on.")));
}

Datum
atlas_rebuild_search(PG_FUNCTION_ARGS)
{
	TimestampTz since = PG_ARGISNULL(0) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(0);
	AtlasIdentity saved;
	pg_uuid_t	ignored;

	/* All events are later than any time before 1970. */
	if (!atlas_event_id_first(since, &ignored))
	{
		if (since > 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("no event can have occurred since then")));
		since = DT_NOBEGIN;
	}
	SPI_connect();
	atlas_become_owner(&saved);
	require_search();
	atlas_rebuild_request(since);
	atlas_return(&saved);
	SPI_finish();
	atlas_wake_at_commit(0, 1);
	PG_RETURN_VOID();
}

/* Sets a column to a time, or to null if there is none. */
static void
put_time(int column, TimestampTz time, Datum *values, bool *nulls)
{
	nulls[column] = time == 0;
	values[column] = TimestampTzGetDatum(time);
}

Datum
atlas_search_progress(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	AtlasSearchStatus status;
	AtlasIdentity saved;
	Datum		values[SEARCH_NCOLUMNS] = {0};
	bool		nulls[SEARCH_NCOLUMNS] = {0};
	Datum		result;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tupdesc = BlessTupleDesc(tupdesc);

	SPI_connect();
	atlas_become_owner(&saved);
	atlas_search_status(&status);
	values[SEARCH_IN_EFFECT] = BoolGetDatum(status.in_effect);
	values[SEARCH_WAITING] = Int64GetDatum(status.waiting);
	values[SEARCH_OLDEST_AGE] = IntervalPGetDatum(status.oldest_age);
	nulls[SEARCH_OLDEST_AGE] = status.oldest_age == NULL;
	put_time(SEARCH_MISSING_SINCE, status.missing_since, values, nulls);
	nulls[SEARCH_MISSING_SINCE] = status.missing_since == DT_NOEND;
	put_time(SEARCH_REBUILD_SINCE, status.since, values, nulls);
	put_time(SEARCH_REQUESTED_AT, status.requested_at, values, nulls);
	put_time(SEARCH_STARTED_AT, status.started_at, values, nulls);
	put_time(SEARCH_FINISHED_AT, status.finished_at, values, nulls);
	put_time(SEARCH_POSITION, status.position, values, nulls);
	values[SEARCH_DOCUMENTS] = Int64GetDatum(status.documents);
	nulls[SEARCH_DOCUMENTS] = !status.was_requested;
	result = PointerGetDatum(SPI_returntuple(heap_form_tuple(tupdesc, values, nulls), tupdesc));
	atlas_return(&saved);
	SPI_finish();
	PG_RETURN_DATUM(result);
}
