/*
 * event_json.c
 *		Reads events from the request body of the Events API.
 *
 * The body, one event or an array of them, comes in the server's encoding and is parsed
 * as UTF-8. jansson decodes the envelope of each event; the payload is cut out first
 * (json_payload.c) and goes to jsonb byte by byte. The problems of an event are collected
 * in it, with line and column if it is not JSON; a problem of the array itself is raised.
 *
 * If an event is jsonb already, its payload is taken as it is, and the rest is printed and
 * read like a text. An event that is too large is found before it is printed.
 *
 * Reading an event may raise errors, so jansson's memory is freed in a PG_FINALLY.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "event/body.h"
#include "event/event_fields.h"
#include "event/event_json.h"
#include "event/json_payload.h"
#include "event/jsonb_text.h"
#include "event/validation.h"

/* U+0000 is a problem of the field that has it, and not of the whole body. */
#define ENVELOPE_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL)

/*
 * Parses all of an event but the payload. Returns NULL and says what is wrong if it is
 * malformed.
 */
static json_t *
parse_envelope(AtlasEvent *event, const AtlasBody *body, AtlasSpan *payload)
{
	AtlasSkeleton envelope = atlas_cut_payload(body->json, body->length, false, payload);
	json_error_t parse_error;
	json_t	   *object = json_loadb(envelope.json, envelope.length, ENVELOPE_FLAGS, &parse_error);

	pfree(envelope.json);
	if (object != NULL)
		return object;

	/* It is parsed once more, to find the place. */
	envelope = atlas_cut_payload(body->json, body->length, true, payload);
	object = json_loadb(envelope.json, envelope.length, ENVELOPE_FLAGS, &parse_error);
	pfree(envelope.json);
	if (object == NULL)
		atlas_report_malformed(&event->error, body, &parse_error);
	return object;
}

/* Reads an event from a part of a request body, unless it is too large. */
static void
read_body(AtlasEvent *event, const char *json, Size length, AtlasCounted *counted)
{
	AtlasBody	body;
	AtlasSpan	payload;
	json_t	   *object;

	atlas_event_check_size(event, length);
	if (event->error.status == ATLAS_TOO_LARGE)
		return;
	body = atlas_body(json, length, counted);
	if (body.json == NULL)
	{
		atlas_add_problem(&event->error, "malformed_json", "",
						  "%s: has a character that UTF-8 does not have", atlas_place_in(&body, 0));
		return;
	}
	object = parse_envelope(event, &body, &payload);
	PG_TRY();
	{
		if (object != NULL)
			atlas_event_read_fields(event, object, &body, &payload);
	}
	PG_FINALLY();
	{
		json_decref(object);
	}
	PG_END_TRY();
	if (body.json != body.source)
		pfree(unconstify(char *, body.json));
}

void
atlas_event_from_json(AtlasEvent *event, const char *json, Size length)
{
	AtlasCounted counted;

	json = atlas_skip_byte_order_mark(json, &length);
	counted = (AtlasCounted) {json, {1, 0}};
	read_body(event, json, length, &counted);
}

/* Appends a value of jsonb. Returns false if it is too large for an event. */
static bool
print_value(StringInfo json, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(json, "null");
			break;
		case jbvBool:
			appendStringInfoString(json, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			appendStringInfoString(json, DatumGetCString(DirectFunctionCall1(numeric_out,
																			 NumericGetDatum(value->val.numeric))));
			break;
		case jbvString:
			escape_json(json, pnstrdup(value->val.string.val, value->val.string.len));
			break;
		default:
			if (atlas_jsonb_text_length(value->val.binary.data) > atlas_max_event_size)
				return false;
			(void) JsonbToCString(json, value->val.binary.data, value->val.binary.len);
			break;
	}
	return json->len <= atlas_max_event_size;
}

/*
 * Prints an object without its payload, which is taken as it is if it is an object or an
 * array. Returns false if a part of it is too large.
 */
static bool
print_envelope(AtlasEvent *event, JsonbContainer *object, StringInfo json)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbValue	key;
	JsonbValue	value;

	(void) JsonbIteratorNext(&iterator, &key, true);
	appendStringInfoChar(json, '{');
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (value.type == jbvBinary && key.val.string.len == strlen("payload") &&
			memcmp(key.val.string.val, "payload", key.val.string.len) == 0)
		{
			atlas_event_take_payload(event, JsonbValueToJsonb(&value));
			continue;
		}
		if (json->len > 1)
			appendStringInfoString(json, ", ");
		escape_json(json, pnstrdup(key.val.string.val, key.val.string.len));
		appendStringInfoString(json, ": ");
		if (!print_value(json, &value))
			return false;
	}
	appendStringInfoChar(json, '}');
	return true;
}

/* Reads an event from an object or an array of jsonb. */
static void
read_jsonb(AtlasEvent *event, JsonbContainer *container)
{
	AtlasCounted counted;
	StringInfoData json;

	if (!JsonContainerIsObject(container))
	{
		atlas_add_problem(&event->error, "invalid", event->pointer,
						  "an event must be a JSON object");
		return;
	}
	initStringInfo(&json);
	if (!print_envelope(event, container, &json) ||
		json.len + event->size + strlen(", \"payload\": ") > atlas_max_event_size)
		atlas_event_check_size(event, atlas_jsonb_text_length(container));
	counted = (AtlasCounted) {json.data, {1, 0}};
	if (event->error.status != ATLAS_TOO_LARGE)
		read_body(event, json.data, json.len, &counted);
	pfree(json.data);
}

void
atlas_event_from_jsonb(AtlasEvent *event, Jsonb *jsonb)
{
	read_jsonb(event, &jsonb->root);
}

/* Raises an error unless the body is an array, whatever its items are. */
static void
check_array(const AtlasSkeleton *skeleton, const char *json, Size length, AtlasCounted *counted)
{
	AtlasError	error = {0};
	json_error_t parse_error;
	json_t	   *array = NULL;

	/* A body that is not an array has not become shorter, and may have any size. */
	bool		is_parsed = skeleton->json[strspn(skeleton->json, " \t\r\n")] == '[' ||
		length <= atlas_max_event_size;

	if (is_parsed)
		array = json_loadb(skeleton->json, skeleton->length, JSON_DECODE_ANY, &parse_error);
	if (is_parsed && array == NULL)
	{
		/* It is parsed once more, to find the place. */
		AtlasBody	body = {json, json, length, counted};
		AtlasSpan  *items;
		int			nitems;
		AtlasSkeleton in_place = atlas_split_array(json, length, true, 0, &items, &nitems);

		array = json_loadb(in_place.json, in_place.length, JSON_DECODE_ANY, &parse_error);
		if (array == NULL)
			atlas_report_malformed(&error, &body, &parse_error);
	}
	if (error.status == 0 && !json_is_array(array))
		atlas_add_problem(&error, "invalid", "", "must be a JSON array of events");
	json_decref(array);
	if (error.status != 0)
		atlas_raise(&error);
}

/* Makes empty events of one call, which share the room for their problems. */
static AtlasEvent *
make_events(int nevents)
{
	AtlasEvent *events = palloc(sizeof(AtlasEvent) * Max(nevents, 1));
	TimestampTz now = GetCurrentTimestamp();
	int		   *room = palloc(sizeof(int));

	*room = ATLAS_MAX_PROBLEMS_OF_CALL;
	for (int i = 0; i < nevents; i++)
	{
		atlas_event_init(&events[i], "", now);
		events[i].error.room = room;
	}
	return events;
}

/* Only the first events are looked for if there are more than may be in one call. */
AtlasEvent *
atlas_events_from_json(const char *json, Size length, int *nevents)
{
	AtlasCounted counted;
	AtlasSpan  *items;
	AtlasSkeleton skeleton;
	AtlasEvent *events;

	json = atlas_skip_byte_order_mark(json, &length);
	counted = (AtlasCounted) {json, {1, 0}};
	skeleton = atlas_split_array(json, length, false, atlas_max_batch_size, &items, nevents);
	atlas_event_check_batch_size(*nevents);
	check_array(&skeleton, json, length, &counted);
	pfree(skeleton.json);

	events = make_events(*nevents);
	for (int i = 0; i < *nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_body(&events[i], json + items[i].start, items[i].length, &counted);
	}
	return events;
}

AtlasEvent *
atlas_events_from_jsonb(Jsonb *jsonb, int *nevents)
{
	AtlasEvent *events;
	JsonbIterator *iterator;
	JsonbValue	value;
	int			next = 0;

	if (!JB_ROOT_IS_ARRAY(jsonb) || JB_ROOT_IS_SCALAR(jsonb))
	{
		AtlasError	error = {0};

		atlas_add_problem(&error, "invalid", "", "must be a JSON array of events");
		atlas_raise(&error);
	}
	*nevents = JB_ROOT_COUNT(jsonb);
	atlas_event_check_batch_size(*nevents);
	events = make_events(*nevents);
	iterator = JsonbIteratorInit(&jsonb->root);
	(void) JsonbIteratorNext(&iterator, &value, true);
	while (JsonbIteratorNext(&iterator, &value, true) == WJB_ELEM)
	{
		AtlasEvent *event = &events[next++];

		CHECK_FOR_INTERRUPTS();
		if (value.type == jbvBinary)
			read_jsonb(event, value.val.binary.data);
		else
			atlas_add_problem(&event->error, "invalid", "", "an event must be a JSON object");
	}
	return events;
}
