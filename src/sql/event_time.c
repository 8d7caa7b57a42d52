/*
 * event_time.c
 *		event_id_at(): the event id where a time begins, so that a period of time can
 *		be looked up as a range of ids, for which there is an index.
 *
 * The Events API has the same for times that come in a URL, and the times themselves.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/event_id.h"
#include "event/rfc3339.h"

PG_FUNCTION_INFO_V1(event_id_at);
PG_FUNCTION_INFO_V1(atlas_first_event_id);
PG_FUNCTION_INFO_V1(atlas_event_time);

Datum
event_id_at(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	if (!atlas_event_id_first(PG_GETARG_TIMESTAMPTZ(0), id))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("no event id has this time"),
				 errdetail("Event ids have times from 1970-01-01 00:00:00 to 10889-08-02 05:31:50.655999, in UTC.")));
	PG_RETURN_UUID_P(id);
}

/* The same for a time as RFC 3339 writes it; null when it is none, or out of range. */
Datum
atlas_first_event_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	TimestampTz time;

	if (!atlas_parse_rfc3339(text_to_cstring(PG_GETARG_TEXT_PP(0)), &time) ||
		!atlas_event_id_first(time, id))
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(id);
}

/* The time that RFC 3339 writes so; null when it is none, or out of range. */
Datum
atlas_event_time(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id;
	TimestampTz time;

	if (!atlas_parse_rfc3339(text_to_cstring(PG_GETARG_TEXT_PP(0)), &time) ||
		!atlas_event_id_first(time, &id))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(time);
}
