/*
 * event_json.c
 *		Reads events from the request body of the Events API.
 *
 * The body, one event or an array of them, comes in the server's encoding and
 * is parsed as UTF-8. jansson decodes the envelope of each event; the payload is
 * cut out first (json_payload.c) and goes to jsonb byte by byte. What is wrong
 * with an event is collected in it, with line and column if it is no JSON; what
 * is wrong with the array itself is raised.
 *
 * jansson's memory is freed in a PG_FINALLY: reading an event may raise errors.
 */
#include "postgres.h"

#include "event.h"
#include "json_payload.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "rfc3339.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "values.h"

#define ENVELOPE_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY)

/* A place in a request body, for people: columns count characters. */
typedef struct Place
{
	int			line;			/* from 1 */
	int			column;			/* characters before it */
} Place;

/* How far lines and columns have been counted, so that they are counted once. */
typedef struct Counted
{
	const char *json;
	Place		place;
} Counted;

/* A request body in UTF-8, or an event in it. */
typedef struct Body
{
	const char *json;
	Size		length;
	Counted    *counted;		/* to its beginning at most */
} Body;

static void *
text_from_utf8(const char *utf8)
{
	return cstring_to_text(pg_any_to_server(utf8, strlen(utf8), PG_UTF8));
}

static void *
jsonb_from_utf8(const char *utf8)
{
	char	   *string = pg_any_to_server(utf8, strlen(utf8), PG_UTF8);

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(string)));
}

/* A copy without the room to grow that it was made with. */
static void *
copy_value(const void *value)
{
	return memcpy(palloc(VARSIZE_ANY(value)), value, VARSIZE_ANY(value));
}

/*
 * Converts a string, for the functions above. Returns NULL and the message when
 * PostgreSQL does not take it. Nothing but memory is used between the error and
 * its handling, so no subtransaction is needed; what a conversion leaves behind is
 * many times its result, and is freed at once.
 */
static void *
convert(void *(*conversion) (const char *), const char *utf8, const char **message)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(context, "atlas_events conversion",
												  ALLOCSET_DEFAULT_SIZES);
	void	   *volatile result = NULL;

	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		result = conversion(utf8);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		/* The last one: a \u escape for which the database has no character. */
		if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_PROGRAM_LIMIT_EXCEEDED &&
			category != ERRCODE_FEATURE_NOT_SUPPORTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		*message = error->detail ? psprintf("%s: %s", error->message, error->detail)
			: error->message;
	}
	PG_END_TRY();

	MemoryContextSwitchTo(context);
	if (result != NULL)
		result = copy_value(result);
	MemoryContextDelete(scratch);
	return result;
}

/* Reads a string field; null is as good as absent. */
static text *
read_string(AtlasEvent *event, const AtlasReference *reference, const json_t *value,
			const char *field)
{
	const char *message = NULL;
	text	   *result;

	if (json_is_null(value))
		return NULL;
	if (!json_is_string(value))
	{
		atlas_add_problem(&event->error, "invalid", atlas_event_pointer(event, reference, field),
						  "must be a string");
		return NULL;
	}
	if (GetDatabaseEncoding() == PG_UTF8)
		return cstring_to_text_with_len(json_string_value(value), json_string_length(value));
	result = convert(text_from_utf8, json_string_value(value), &message);
	if (result == NULL)
		atlas_add_problem(&event->error, "invalid", atlas_event_pointer(event, reference, field),
						  "%s", message);
	return result;
}

static char *
read_type(AtlasEvent *event, const AtlasReference *reference, const json_t *value)
{
	text	   *type = read_string(event, reference, value, "objectType");

	if (type == NULL || VARSIZE_ANY_EXHDR(type) == 0)
		return NULL;
	return atlas_fold_object_type(VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type));
}

/* A key as a part of a JSON pointer (RFC 6901). */
static char *
escape_for_pointer(const char *key)
{
	StringInfoData result;

	initStringInfo(&result);
	for (; *key != '\0'; key++)
	{
		if (*key == '~')
			appendStringInfoString(&result, "~0");
		else if (*key == '/')
			appendStringInfoString(&result, "~1");
		else
			appendStringInfoChar(&result, *key);
	}
	return result.data;
}

/* A key that the Events API does not have; a long one is shortened. */
static void
report_unknown_field(AtlasEvent *event, const AtlasReference *reference, const char *key)
{
	const char *message = NULL;
	int			length = pg_encoding_mbcliplen(PG_UTF8, key, strlen(key), 64);
	text	   *name = convert(text_from_utf8, pnstrdup(key, length), &message);

	atlas_add_problem(&event->error, "unknown_field",
					  atlas_event_pointer(event, reference, name == NULL ? "?" :
										  escape_for_pointer(text_to_cstring(name))),
					  "is not a field of the Events API");
}

static void
read_reference(AtlasEvent *event, int index, json_t *item)
{
	AtlasReference *reference = &event->related[index];
	const char *key;
	json_t	   *value;

	if (!json_is_object(item))
	{
		atlas_add_problem(&event->error, "invalid",
						  atlas_event_pointer(event, NULL, psprintf("relatedObjects/%d", index)),
						  "must be an object");
		return;
	}
	json_object_foreach(item, key, value)
	{
		if (strcmp(key, "objectType") == 0)
			reference->object_type = read_type(event, reference, value);
		else if (strcmp(key, "objectId") == 0)
			reference->object_id = read_string(event, reference, value, key);
		else if (strcmp(key, "externalId") == 0)
			reference->external_id = read_string(event, reference, value, key);
		else
			report_unknown_field(event, reference, key);
	}
}

static void
read_related(AtlasEvent *event, const json_t *value)
{
	int			nrelated = json_array_size(value);

	if (json_is_null(value))
		return;
	if (!json_is_array(value))
	{
		atlas_add_problem(&event->error, "invalid", atlas_event_pointer(event, NULL, "relatedObjects"),
						  "must be an array");
		return;
	}
	if (!atlas_event_check_related_count(event, nrelated))
		return;
	event->related = palloc0(sizeof(AtlasReference) * Max(nrelated, 1));
	event->nrelated = nrelated;
	for (int i = 0; i < nrelated; i++)
		read_reference(event, i, json_array_get(value, i));
}

static void
read_occurred_at(AtlasEvent *event, const json_t *value)
{
	if (json_is_null(value))
		return;
	if (!json_is_string(value) ||
		!atlas_parse_rfc3339(json_string_value(value), &event->occurred_at))
	{
		atlas_add_problem(&event->error, "invalid", atlas_event_pointer(event, NULL, "occurredAt"),
						  "must be a date-time of RFC 3339, such as 2026-03-01T09:15:00Z");
		return;
	}
	event->occurred_at_given = true;
}

/* A key may also have come beside the event, then it must be the same one. */
static void
read_idempotency_key(AtlasEvent *event, const json_t *value)
{
	text	   *given = event->idempotency_key;
	text	   *key = read_string(event, NULL, value, "idempotencyKey");

	if (key == NULL)
		return;
	if (given != NULL && atlas_compare_text(given, key) != 0)
		atlas_add_problem(&event->error, "invalid", atlas_event_pointer(event, NULL, "idempotencyKey"),
						  "is not the key that was given beside the event");
	event->idempotency_key = key;
}

static void
move_on(Place *place, const char *from, const char *to)
{
	for (const char *c = from; c < to; c++)
	{
		if (*c == '\n')
		{
			place->line++;
			place->column = 0;
		}
		else if ((*c & 0xC0) != 0x80)
			place->column++;	/* a character, not its second byte */
	}
}

/* "line 2, column 5" for a position in the event. Events are asked for in order. */
static char *
place_in(const Body *body, int64 position)
{
	Counted    *counted = body->counted;
	Place		place;

	move_on(&counted->place, counted->json, body->json);
	counted->json = body->json;
	place = counted->place;
	move_on(&place, body->json, body->json + Min(Max(position, 0), body->length));
	return psprintf("line %d, column %d", place.line, place.column);
}

/*
 * What jansson says, without the excerpt, which may cut a character in two, and
 * without the names of its flags.
 */
static char *
reason_of(const json_error_t *parse_error)
{
	static const char *const endings[] = {" near '", " without JSON_"};
	char	   *reason = pstrdup(parse_error->text);

	for (int i = 0; i < lengthof(endings); i++)
	{
		char	   *ending = strstr(reason, endings[i]);

		if (ending != NULL)
			*ending = '\0';
	}
	return reason;
}

/*
 * Where in the body the payload is malformed. PostgreSQL does not say, so
 * jansson is asked; if it finds nothing wrong, it is the payload as a whole.
 */
static char *
place_in_payload(const Body *body, const AtlasSpan *span)
{
	json_error_t parse_error;
	json_t	   *parsed = json_loadb(body->json + span->start, span->length, 0, &parse_error);
	int64		position = span->start;

	if (parsed == NULL)
		position += parse_error.position;
	json_decref(parsed);
	return place_in(body, position);
}

static void
read_payload(AtlasEvent *event, const Body *body, const AtlasSpan *span)
{
	char	   *payload = pnstrdup(body->json + span->start, span->length);
	const char *message = NULL;

	if (strcmp(payload, "null") == 0)
		return;
	event->size += span->length;
	if (payload[0] != '{')
	{
		atlas_add_problem(&event->error, "invalid", atlas_event_pointer(event, NULL, "payload"),
						  "must be a JSON object");
		return;
	}
	/* A payload that is refused for its size is not worth the parsing. */
	if (event->size <= atlas_max_event_size)
	{
		event->payload = convert(jsonb_from_utf8, payload, &message);
		if (event->payload == NULL)
			atlas_add_problem(&event->error, "invalid", atlas_event_pointer(event, NULL, "payload"),
							  "%s: %s", place_in_payload(body, span), message);
	}
	pfree(payload);
}

static void
read_field(AtlasEvent *event, const char *key, const json_t *value, const Body *body,
		   const AtlasSpan *payload)
{
	if (strcmp(key, "objectType") == 0)
		event->primary.object_type = read_type(event, NULL, value);
	else if (strcmp(key, "objectId") == 0)
		event->primary.object_id = read_string(event, NULL, value, key);
	else if (strcmp(key, "externalId") == 0)
		event->primary.external_id = read_string(event, NULL, value, key);
	else if (strcmp(key, "name") == 0)
		event->name = read_string(event, NULL, value, key);
	else if (strcmp(key, "description") == 0)
		event->description = read_string(event, NULL, value, key);
	else if (strcmp(key, "icon") == 0)
		event->icon = read_string(event, NULL, value, key);
	else if (strcmp(key, "payload") == 0)
		read_payload(event, body, payload);
	else if (strcmp(key, "relatedObjects") == 0)
		read_related(event, value);
	else if (strcmp(key, "occurredAt") == 0)
		read_occurred_at(event, value);
	else if (strcmp(key, "idempotencyKey") == 0)
		read_idempotency_key(event, value);
	else
		report_unknown_field(event, NULL, key);
}

static void
read_fields(AtlasEvent *event, json_t *object, const Body *body, const AtlasSpan *payload)
{
	const char *key;
	json_t	   *value;

	if (!json_is_object(object))
	{
		atlas_add_problem(&event->error, "invalid", pstrdup(event->pointer),
						  "an event must be a JSON object");
		return;
	}
	json_object_foreach(object, key, value)
		read_field(event, key, value, body, payload);
	atlas_event_validate(event);
}

/* Says what jansson says, with line and column of the original body. */
static void
report_malformed(AtlasError *error, const Body *body, const json_error_t *parse_error)
{
	atlas_add_problem(error,
					  json_error_code(parse_error) == json_error_duplicate_key ?
					  "duplicate_key" : "malformed_json",
					  "", "%s: %s", place_in(body, parse_error->position), reason_of(parse_error));
}

/* Parses all but the payload, or says what is wrong with it. */
static json_t *
parse_envelope(AtlasEvent *event, const Body *body, AtlasSpan *payload)
{
	AtlasSkeleton envelope = atlas_cut_payload(body->json, body->length, false, payload);
	json_error_t parse_error;
	json_t	   *object = json_loadb(envelope.json, envelope.length, ENVELOPE_FLAGS, &parse_error);

	pfree(envelope.json);
	if (object != NULL)
		return object;

	/* Once more, for the place. */
	envelope = atlas_cut_payload(body->json, body->length, true, payload);
	object = json_loadb(envelope.json, envelope.length, ENVELOPE_FLAGS, &parse_error);
	if (object == NULL)
		report_malformed(&event->error, body, &parse_error);
	return object;
}

static void
read_event(AtlasEvent *event, const Body *body)
{
	AtlasSpan	payload;
	json_t	   *object = parse_envelope(event, body, &payload);

	if (object == NULL)
		return;
	PG_TRY();
	{
		read_fields(event, object, body, &payload);
	}
	PG_FINALLY();
	{
		json_decref(object);
	}
	PG_END_TRY();
}

/* The body as UTF-8. */
static Body
body_in_utf8(const char *json, Size length, Counted *counted)
{
	char	   *utf8 = pg_server_to_any(json, length, PG_UTF8);
	Body		body = {utf8, utf8 == json ? length : strlen(utf8), counted};

	*counted = (Counted) {utf8, {1, 0}};
	return body;
}

void
atlas_event_from_json(AtlasEvent *event, const char *json, Size length)
{
	Counted		counted;
	Body		body;

	atlas_event_check_size(event, length);
	if (event->error.status != 0)
		return;
	body = body_in_utf8(json, length, &counted);
	read_event(event, &body);
}

/* Raises an error unless the body is an array, whatever its items are. */
static void
check_array(const AtlasSkeleton *skeleton, const Body *body)
{
	AtlasError	error = {0};
	json_error_t parse_error;
	json_t	   *array = NULL;

	/* What is no array has not become shorter, and may be of any size. */
	bool		is_parsed = skeleton->json[strspn(skeleton->json, " \t\r\n")] == '[' ||
		body->length <= atlas_max_event_size;

	if (is_parsed)
		array = json_loadb(skeleton->json, skeleton->length, JSON_DECODE_ANY, &parse_error);
	if (is_parsed && array == NULL)
	{
		/* Once more, for the place. */
		AtlasSpan  *items;
		int			nitems;
		AtlasSkeleton in_place = atlas_split_array(body->json, body->length, true, 0,
												   &items, &nitems);

		array = json_loadb(in_place.json, in_place.length, JSON_DECODE_ANY, &parse_error);
	}
	if (is_parsed && array == NULL)
		report_malformed(&error, body, &parse_error);
	else if (!json_is_array(array))
		atlas_add_problem(&error, "invalid", "", "must be a JSON array of events");
	json_decref(array);
	if (error.status != 0)
		atlas_raise(&error);
}

AtlasEvent *
atlas_events_from_json(const char *json, Size length, int *nevents)
{
	Counted		counted;
	Body		body = body_in_utf8(json, length, &counted);
	AtlasSpan  *items;
	AtlasSkeleton skeleton = atlas_split_array(body.json, body.length, false,
											   atlas_max_batch_size, &items, nevents);
	TimestampTz now = GetCurrentTimestamp();
	AtlasEvent *events;

	atlas_event_check_batch_size(*nevents);
	check_array(&skeleton, &body);
	pfree(skeleton.json);

	events = palloc(sizeof(AtlasEvent) * Max(*nevents, 1));
	for (int i = 0; i < *nevents; i++)
	{
		Body		item = {body.json + items[i].start, items[i].length, &counted};

		CHECK_FOR_INTERRUPTS();
		atlas_event_init(&events[i], "", now);
		atlas_event_check_size(&events[i], item.length);
		if (events[i].error.status == 0)
			read_event(&events[i], &item);
	}
	return events;
}

static void
push_string(JsonbParseState **state, const char *key, const char *value, int length)
{
	JsonbValue	item;

	item.type = jbvString;
	item.val.string.val = unconstify(char *, key);
	item.val.string.len = strlen(key);
	(void) pushJsonbValue(state, WJB_KEY, &item);
	item.val.string.val = unconstify(char *, value);
	item.val.string.len = length;
	(void) pushJsonbValue(state, WJB_VALUE, &item);
}

Jsonb *
atlas_references_to_jsonb(const AtlasReference *references, int nreferences)
{
	JsonbParseState *state = NULL;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(context, "atlas_events references",
												  ALLOCSET_DEFAULT_SIZES);
	Jsonb	   *result;

	MemoryContextSwitchTo(scratch);
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < nreferences; i++)
	{
		const AtlasReference *reference = &references[i];

		(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_string(&state, "objectType", reference->object_type, strlen(reference->object_type));
		if (reference->object_id != NULL)
			push_string(&state, "objectId", VARDATA_ANY(reference->object_id),
						VARSIZE_ANY_EXHDR(reference->object_id));
		if (reference->external_id != NULL)
			push_string(&state, "externalId", VARDATA_ANY(reference->external_id),
						VARSIZE_ANY_EXHDR(reference->external_id));
		(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	result = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
	MemoryContextSwitchTo(context);
	result = copy_value(result);
	MemoryContextDelete(scratch);
	return result;
}
