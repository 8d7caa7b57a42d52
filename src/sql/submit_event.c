/*
 * submit_event.c
 *		submit_event() and submit_events() as SQL sees them.
 *
 * Events come as the composite type, as named arguments or as JSON. The functions return
 * the event id, or for JSON a receipt in JSON. A single event that is refused raises its
 * error, and so does the first refused event of an SQL array. In a JSON array each event
 * is accepted or refused by itself, and has a result of its own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "event/event_json.h"
#include "event/event_record.h"
#include "event/validation.h"
#include "submit/submit.h"

PG_FUNCTION_INFO_V1(submit_event_composite);
PG_FUNCTION_INFO_V1(submit_event_arguments);
PG_FUNCTION_INFO_V1(submit_event_text);
PG_FUNCTION_INFO_V1(submit_event_text_key);
PG_FUNCTION_INFO_V1(submit_event_jsonb);
PG_FUNCTION_INFO_V1(submit_events_array);
PG_FUNCTION_INFO_V1(submit_events_text);
PG_FUNCTION_INFO_V1(submit_events_jsonb);

/*
 * Stores the events. The caller calls SPI_finish() when it has read the errors, which
 * are in SPI's memory.
 */
static void
submit_connected(AtlasSubmission *submissions, int nsubmissions)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	atlas_submit(submissions, nsubmissions);
}

/* Stores one event, or raises the error that it was refused with. */
static void
submit_one(AtlasSubmission *submission)
{
	submit_connected(submission, 1);
	if (submission->event.error.status != 0)
		atlas_raise(&submission->event.error);
	SPI_finish();
}

/* The event id, as SQL functions return it. */
static Datum
event_id_datum(const AtlasSubmission *submission)
{
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));

	*result = submission->event_id;
	return UUIDPGetDatum(result);
}

/* Appends the fields of a receipt in JSON. None of them needs escaping. */
static void
append_receipt(StringInfo json, const AtlasSubmission *submission)
{
	appendStringInfo(json, "\"message\":\"%s\",\"eventId\":\"%s\",\"processingStatus\":\"%s\",\"duplicate\":%s",
					 atlas_status_message(ATLAS_OK), atlas_event_id_string(&submission->event_id),
					 submission->processing_status, submission->duplicate ? "true" : "false");
}

Datum
submit_event_composite(PG_FUNCTION_ARGS)
{
	AtlasSubmission submission = {0};

	atlas_event_init(&submission.event, "", GetCurrentTimestamp());
	atlas_event_from_record(&submission.event, PG_GETARG_DATUM(0), PG_ARGISNULL(0));
	submit_one(&submission);
	return event_id_datum(&submission);
}

/* The arguments have an order of their own, in which the required ones come first. */
Datum
submit_event_arguments(PG_FUNCTION_ARGS)
{
	static const AtlasEventField order[ATLAS_NFIELDS] = {
		ATLAS_FIELD_OBJECT_TYPE, ATLAS_FIELD_OBJECT_ID, ATLAS_FIELD_NAME,
		ATLAS_FIELD_DESCRIPTION, ATLAS_FIELD_ICON, ATLAS_FIELD_EXTERNAL_ID,
		ATLAS_FIELD_PAYLOAD, ATLAS_FIELD_RELATED_OBJECTS, ATLAS_FIELD_OCCURRED_AT,
		ATLAS_FIELD_IDEMPOTENCY_KEY
	};
	AtlasSubmission submission = {0};
	Datum		values[ATLAS_NFIELDS];
	bool		nulls[ATLAS_NFIELDS];

	for (int i = 0; i < ATLAS_NFIELDS; i++)
	{
		nulls[order[i]] = PG_ARGISNULL(i);
		values[order[i]] = PG_GETARG_DATUM(i);
	}
	atlas_event_init(&submission.event, "", GetCurrentTimestamp());
	atlas_event_from_datums(&submission.event, values, nulls);
	submit_one(&submission);
	return event_id_datum(&submission);
}

/* Stores an event that was JSON, and returns its receipt. */
static Datum
submit_json(AtlasSubmission *submission)
{
	StringInfoData receipt;

	submit_one(submission);
	initStringInfo(&receipt);
	appendStringInfoChar(&receipt, '{');
	append_receipt(&receipt, submission);
	appendStringInfoChar(&receipt, '}');
	return PointerGetDatum(cstring_to_text_with_len(receipt.data, receipt.len));
}

/* Raises an error because no event was passed at all. */
static void
raise_null(const char *message)
{
	AtlasError	error = {0};

	atlas_add_problem(&error, "required", "", "%s", message);
	atlas_raise(&error);
}

/*
 * Submits the first argument, which is text or json: both look the same here. The key,
 * if there is one, came beside the event.
 */
static Datum
submit_text_argument(FunctionCallInfo fcinfo, text *idempotency_key)
{
	AtlasSubmission submission = {0};
	text	   *json;

	if (PG_ARGISNULL(0))
		raise_null("an event is required");
	json = PG_GETARG_TEXT_PP(0);
	atlas_event_init(&submission.event, "", GetCurrentTimestamp());
	submission.event.idempotency_key = idempotency_key;
	atlas_event_from_json(&submission.event, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
	return submit_json(&submission);
}

Datum
submit_event_text(PG_FUNCTION_ARGS)
{
	return submit_text_argument(fcinfo, NULL);
}

Datum
submit_event_text_key(PG_FUNCTION_ARGS)
{
	return submit_text_argument(fcinfo, PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
}

Datum
submit_event_jsonb(PG_FUNCTION_ARGS)
{
	AtlasSubmission submission = {0};

	if (PG_ARGISNULL(0))
		raise_null("an event is required");
	atlas_event_init(&submission.event, "", GetCurrentTimestamp());
	atlas_event_from_jsonb(&submission.event, PG_GETARG_JSONB_P(0));
	return submit_json(&submission);
}

/* The error of a refused event says which one of the array it is. */
Datum
submit_events_array(PG_FUNCTION_ARGS)
{
	ArrayType  *array;
	Datum	   *items;
	bool	   *nulls;
	int			nitems;
	TimestampTz now = GetCurrentTimestamp();
	AtlasSubmission *submissions;
	Datum	   *ids;

	if (PG_ARGISNULL(0))
		raise_null("an array of events is required");
	array = PG_GETARG_ARRAYTYPE_P(0);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE,
					  &items, &nulls, &nitems);
	atlas_event_check_batch_size(nitems);
	if (nitems == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(UUIDOID));

	submissions = palloc0(sizeof(AtlasSubmission) * nitems);
	for (int i = 0; i < nitems; i++)
	{
		CHECK_FOR_INTERRUPTS();
		atlas_event_init(&submissions[i].event, psprintf("/%d", i), now);
		atlas_event_from_record(&submissions[i].event, items[i], nulls[i]);
	}
	submit_connected(submissions, nitems);
	for (int i = 0; i < nitems; i++)
	{
		AtlasError *error = &submissions[i].event.error;

		if (error->status == 0)
			continue;
		if (error->detail != NULL)
			error->detail = psprintf("Event %d: %s", i, error->detail);
		atlas_raise(error);
	}
	SPI_finish();

	ids = palloc(sizeof(Datum) * nitems);
	for (int i = 0; i < nitems; i++)
		ids[i] = UUIDPGetDatum(&submissions[i].event_id);
	PG_RETURN_ARRAYTYPE_P(construct_array(ids, nitems, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* Adds to a JSON object why an event was refused, in the words of the Events API. */
static void
add_refusal(json_t *object, const AtlasError *error)
{
	bool		is_invalid = error->status == ATLAS_INVALID_EVENT;
	const char *details = is_invalid ? atlas_problems_in_words(error->problems) : error->detail;

	json_object_set_new(object, "status", json_integer(error->status));
	json_object_set_new(object, "code", json_string(atlas_status_code(error->status)));
	json_object_set_new(object, "message", json_string(atlas_status_message(error->status)));
	json_object_set_new(object, "details", atlas_json_string(details));
	json_object_set_new(object, "hint", error->hint ? atlas_json_string(error->hint) : json_null());
	if (is_invalid)
		json_object_set_new(object, "errors", atlas_problems_to_json(error->problems));
}

/* The result of an event that was refused. */
static char *
refusal_to_string(int index, const AtlasError *error)
{
	json_t	   *object = atlas_json_object();

	PG_TRY();
	{
		json_object_set_new(object, "index", json_integer(index));
		add_refusal(object, error);
	}
	PG_CATCH();
	{
		json_decref(object);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return atlas_json_to_string(object);
}

/* The results of all events of an array, in its order. */
static text *
results_to_text(const AtlasSubmission *submissions, int nsubmissions)
{
	StringInfoData json;
	int			accepted = 0;

	for (int i = 0; i < nsubmissions; i++)
		if (submissions[i].event.error.status == 0)
			accepted++;
	initStringInfo(&json);
	appendStringInfo(&json, "{\"accepted\":%d,\"rejected\":%d,\"results\":[",
					 accepted, nsubmissions - accepted);
	for (int i = 0; i < nsubmissions; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0)
			appendStringInfoChar(&json, ',');
		if (submissions[i].event.error.status != 0)
		{
			char	   *refusal = refusal_to_string(i, &submissions[i].event.error);

			appendStringInfoString(&json, refusal);
			pfree(refusal);
			continue;
		}
		appendStringInfo(&json, "{\"index\":%d,\"status\":%d,", i, ATLAS_OK);
		append_receipt(&json, &submissions[i]);
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoString(&json, "]}");
	return cstring_to_text_with_len(json.data, json.len);
}

/* Stores the events of an array that was JSON, and returns the result of each. */
static Datum
submit_json_array(const AtlasEvent *events, int nevents)
{
	MemoryContext caller = CurrentMemoryContext;
	AtlasSubmission *submissions = palloc0(sizeof(AtlasSubmission) * Max(nevents, 1));
	text	   *response;

	for (int i = 0; i < nevents; i++)
		submissions[i].event = events[i];
	submit_connected(submissions, nevents);

	/* The errors are in SPI's memory, but the response must outlive it. */
	MemoryContextSwitchTo(caller);
	response = results_to_text(submissions, nevents);
	SPI_finish();
	return PointerGetDatum(response);
}

Datum
submit_events_text(PG_FUNCTION_ARGS)
{
	text	   *json;
	int			nevents;
	AtlasEvent *events;

	if (PG_ARGISNULL(0))
		raise_null("an array of events is required");
	json = PG_GETARG_TEXT_PP(0);
	events = atlas_events_from_json(VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json), &nevents);
	return submit_json_array(events, nevents);
}

Datum
submit_events_jsonb(PG_FUNCTION_ARGS)
{
	int			nevents;
	AtlasEvent *events;

	if (PG_ARGISNULL(0))
		raise_null("an array of events is required");
	events = atlas_events_from_jsonb(PG_GETARG_JSONB_P(0), &nevents);
	return submit_json_array(events, nevents);
}
