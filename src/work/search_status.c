/*
 * search_status.c
 *		How far the documents are by which events are found, and what a DBA should
 *		know of it.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "base/statement.h"
#include "store/search_gap.h"
#include "store/work.h"
#include "work/search_status.h"

/* Of all tenants. The oldest is looked for among the new events only, as in the queue. */
static AtlasStatement select_work = {
	.sql =
	"SELECT (SELECT pg_catalog.count(*) FROM @extschema@.atlas_event_work WHERE (what OPERATOR(pg_catalog.&) 1::pg_catalog.int2) OPERATOR(pg_catalog.=) 1),"
	"       pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)"
	"       (SELECT pg_catalog.min(e.received_at)"
	"          FROM ((SELECT tenant_id, event_id FROM @extschema@.atlas_event_work"
	"                  WHERE next_attempt_at IS NULL AND submitted_xid OPERATOR(pg_catalog.>=) '0'"
	"                    AND (what OPERATOR(pg_catalog.&) 3::pg_catalog.int2) OPERATOR(pg_catalog.=) 1"
	"                  ORDER BY next_attempt_at, submitted_xid, event_id LIMIT 1)"
	"                UNION ALL"
	"                (SELECT tenant_id, event_id FROM @extschema@.atlas_event_work"
	"                  WHERE next_attempt_at OPERATOR(pg_catalog.<) 'infinity' AND submitted_xid OPERATOR(pg_catalog.>=) '0'"
	"                    AND (what OPERATOR(pg_catalog.&) 3::pg_catalog.int2) OPERATOR(pg_catalog.=) 1)) w,"
	"               LATERAL (SELECT e.received_at FROM @extschema@.atlas_events e"
	"                         WHERE e.tenant_id OPERATOR(pg_catalog.=) w.tenant_id"
	"                           AND e.event_id OPERATOR(pg_catalog.=) w.event_id OFFSET 0) e)",
};

static AtlasStatement select_last_rebuild = {
	.sql =
	"SELECT since, requested_at, started_at, finished_at, before_event, documents"
	"  FROM @extschema@.atlas_search_rebuild",
};

/* A column of the result as a time; 0 if it is null. */
static TimestampTz
time_in(int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* Reads what became of the last rebuild. */
static void
read_last_rebuild(AtlasSearchStatus *status)
{
	bool		isnull;
	Datum		before;

	status->was_requested = atlas_execute(&select_last_rebuild, NULL, NULL, true, 1) > 0;
	if (!status->was_requested)
		return;
	status->since = time_in(1);
	status->requested_at = time_in(2);
	status->started_at = time_in(3);
	status->finished_at = time_in(4);
	before = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 5, &isnull);
	if (!isnull && atlas_event_id_time(DatumGetUUIDP(before)) < GetCurrentTimestamp())
		status->position = atlas_event_id_time(DatumGetUUIDP(before));
	status->documents = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 6, &isnull));
}

void
atlas_search_status(AtlasSearchStatus *status)
{
	Datum		age;
	bool		isnull;

	memset(status, 0, sizeof(*status));
	status->in_effect = atlas_search_is_in_effect();
	(void) atlas_execute(&select_work, NULL, NULL, true, 0);
	status->waiting = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	age = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	status->oldest_age = isnull ? NULL : DatumGetIntervalP(age);
	status->missing_since = atlas_search_gap_since();
	read_last_rebuild(status);
}

const char *
atlas_search_advice(int late_after_seconds)
{
	AtlasSearchStatus status;

	atlas_search_status(&status);
	if (!status.in_effect)
		return NULL;
	if (status.missing_since != DT_NOEND)
	{
		const char *since = timestamptz_to_str(status.missing_since);

		return psprintf("Events since %s have no documents and are not found by search: call atlas_rebuild_search('%s').",
						since, since);
	}
	if (status.oldest_age != NULL &&
		(status.oldest_age->day > 0 || status.oldest_age->time > late_after_seconds * USECS_PER_SEC))
		return "Documents wait for longer than atlas_events.naptime, so that new events are not found by search: see last_error in atlas_event_work.";
	return NULL;
}
