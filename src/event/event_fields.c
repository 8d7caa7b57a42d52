/*
 * event_fields.c
 *		The fields of an event, from its parsed envelope and its payload.
 *
 * A problem with a field of the event refuses the event; a problem with a field of a
 * related object becomes the outcome of that object. The value of the field is lost
 * then. So, if the event has an idempotency key, the related objects are also kept as
 * they were sent. Otherwise another event might be taken for a retry of this one.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "event/conversion.h"
#include "event/event_fields.h"
#include "event/rfc3339.h"
#include "event/validation.h"

/* Notes that the value of a field cannot be taken. */
static void
refuse_value(AtlasEvent *event, AtlasReference *reference, const char *field, const char *message)
{
	event->related_unread = true;
	atlas_event_note(event, reference, "invalid", field, "%s", message);
}

/* Reads a string field. A null is the same as no field. */
static text *
read_string(AtlasEvent *event, AtlasReference *reference, const json_t *value, const char *field)
{
	const char *string = json_string_value(value);
	Size		length = json_string_length(value);
	text	   *result;

	if (json_is_null(value))
		return NULL;
	if (!json_is_string(value))
	{
		refuse_value(event, reference, field, "must be a string");
		return NULL;
	}
	if (memchr(string, '\0', length) != NULL)
	{
		refuse_value(event, reference, field, "must not have the character U+0000");
		return NULL;
	}
	result = atlas_text_from_utf8(string, length);
	if (result == NULL)
		refuse_value(event, reference, field,
					 "has a character that the encoding of the database does not have");
	return result;
}

/* Reads an integer as its digits, however many it has: see AtlasSkeleton. */
static text *
read_integer(const json_t *value, const AtlasBody *body)
{
	json_int_t	integer = json_integer_value(value);
	char		digits[MAXINT8LEN + 1];
	Size		start;
	Size		end;

	if (integer < ATLAS_LONG_INTEGER)
	{
		pg_lltoa(integer, digits);
		return cstring_to_text(digits);
	}
	start = integer - ATLAS_LONG_INTEGER;
	for (end = start + 1; end < body->length && isdigit((unsigned char) body->json[end]);)
		end++;
	return cstring_to_text_with_len(body->json + start, end - start);
}

/* Reads an id. It is a string, or an integer in systems that number their objects. */
static text *
read_id(AtlasEvent *event, AtlasReference *reference, const json_t *value, const char *field,
		const AtlasBody *body)
{
	if (json_is_integer(value))
		return read_integer(value, body);
	if (json_is_string(value) || json_is_null(value))
		return read_string(event, reference, value, field);
	refuse_value(event, reference, field, "must be a string or an integer");
	return NULL;
}

/* Reads an object type and folds it. An empty one is the same as none. */
static char *
read_type(AtlasEvent *event, AtlasReference *reference, const json_t *value)
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
	char	   *result = palloc(2 * strlen(key) + 1);
	char	   *to = result;

	for (; *key != '\0'; key++)
	{
		if (*key == '~' || *key == '/')
		{
			*to++ = '~';
			*to++ = *key == '~' ? '0' : '1';
		}
		else
			*to++ = *key;
	}
	*to = '\0';
	return result;
}

char *
atlas_unknown_key(const char *key, bool in_pointer)
{
	int			length = pg_encoding_mbcliplen(PG_UTF8, key, strlen(key), 64);
	Size		name_length;
	char	   *name = atlas_from_utf8(pnstrdup(key, length), length, &name_length);

	if (name == NULL)
		return pstrdup("?");
	return in_pointer ? escape_for_pointer(name) : name;
}

/* Reports a key that the Events API does not have. */
static void
report_unknown_field(AtlasEvent *event, AtlasReference *reference, const char *key)
{
	event->related_unread = true;
	if (reference == NULL ? event->error.is_full : reference->problem != NULL)
		return;
	atlas_event_note(event, reference, "unknown_field", atlas_unknown_key(key, reference == NULL),
					 "is not a field of the Events API");
}

/* Reads a related object. */
static void
read_reference(AtlasEvent *event, int index, json_t *item, const AtlasBody *body)
{
	AtlasReference *reference = &event->related[index];
	const char *key;
	json_t	   *value;

	if (!json_is_object(item))
	{
		atlas_event_refuse_related(event, index);
		return;
	}
	json_object_foreach(item, key, value)
	{
		if (strcmp(key, "objectType") == 0)
			reference->object_type = read_type(event, reference, value);
		else if (strcmp(key, "objectId") == 0)
			reference->object_id = read_id(event, reference, value, key, body);
		else if (strcmp(key, "externalId") == 0)
			reference->external_id = read_id(event, reference, value, key, body);
		else
			report_unknown_field(event, reference, key);
	}
}

/* Reads the related objects, unless there are too many. */
static void
read_related(AtlasEvent *event, const json_t *value, const AtlasBody *body)
{
	int			nrelated = json_array_size(value);

	if (json_is_null(value))
		return;
	if (!json_is_array(value))
	{
		atlas_event_note(event, NULL, "invalid", "relatedObjects", "must be an array");
		return;
	}
	if (!atlas_event_check_related_count(event, nrelated))
		return;
	event->related = palloc0(sizeof(AtlasReference) * Max(nrelated, 1));
	event->nrelated = nrelated;
	for (int i = 0; i < nrelated; i++)
		read_reference(event, i, json_array_get(value, i), body);
}

/* The related objects as jsonb. If jsonb cannot hold them they become a string in jsonb. */
static Jsonb *
related_as_sent(const AtlasBody *body)
{
	AtlasSpan	span = atlas_find_field(body->json, body->length, "relatedObjects");
	const char *reason;
	Jsonb	   *result = NULL;
	JsonbValue	string;

	if (span.printed_length <= atlas_max_event_size)
		result = atlas_jsonb_from_utf8(body->json + span.start, span.length, &reason);
	if (result != NULL)
		return result;
	string.type = jbvString;
	string.val.string.val = unconstify(char *, body->json + span.start);
	string.val.string.len = span.length;
	return JsonbValueToJsonb(&string);
}

/* Reads the time of the event. */
static void
read_occurred_at(AtlasEvent *event, const json_t *value)
{
	if (json_is_null(value))
		return;
	if (!json_is_string(value) ||
		strlen(json_string_value(value)) != json_string_length(value) ||
		!atlas_parse_rfc3339(json_string_value(value), &event->occurred_at))
	{
		atlas_event_note(event, NULL, "invalid", "occurredAt",
						 "must be a date-time of RFC 3339, such as 2026-03-01T09:15:00Z");
		return;
	}
	event->occurred_at_given = true;
}

/* Reads the key. If one was also given beside the event, it must be the same. */
static void
read_idempotency_key(AtlasEvent *event, const json_t *value)
{
	text	   *given = event->idempotency_key;
	text	   *key = read_string(event, NULL, value, "idempotencyKey");

	if (key == NULL)
		return;
	if (given != NULL && atlas_compare_text(given, key) != 0)
		atlas_event_note(event, NULL, "invalid", "idempotencyKey",
						 "is not the key that was given beside the event");
	event->idempotency_key = key;
}

/*
 * Finds the place at which the payload is malformed. PostgreSQL does not tell it, so
 * jansson is asked. If jansson finds nothing wrong, the place is the beginning of the
 * payload.
 */
static char *
place_in_payload(const AtlasBody *body, const AtlasSpan *span)
{
	json_error_t parse_error;
	json_t	   *parsed = json_loadb(body->json + span->start, span->length, 0, &parse_error);
	int64		position = span->start;

	if (parsed == NULL)
		position += parse_error.position;
	json_decref(parsed);
	return atlas_place_in(body, position);
}

/* Reads the payload, byte by byte as it was sent, into jsonb. */
static void
read_payload(AtlasEvent *event, const AtlasBody *body, const AtlasSpan *span)
{
	const char *payload = body->json + span->start;
	const char *reason = NULL;

	if (span->length == strlen("null") && memcmp(payload, "null", span->length) == 0)
		return;
	event->size += span->printed_length;
	if (span->length == 0 || payload[0] != '{')
	{
		atlas_event_note(event, NULL, "invalid", "payload", "must be a JSON object");
		return;
	}

	/* A payload that is refused for its size is not worth the parsing. */
	if (event->size > atlas_max_event_size)
		return;
	event->payload = atlas_jsonb_from_utf8(payload, span->length, &reason);
	if (event->payload == NULL)
		atlas_add_problem(&event->error, "invalid", atlas_event_pointer(event, "payload"),
						  "%s: %s", place_in_payload(body, span), reason);
}

/* Reads a field of the event by its name in JSON. */
static void
read_field(AtlasEvent *event, const char *key, const json_t *value, const AtlasBody *body,
		   const AtlasSpan *payload)
{
	if (strcmp(key, "objectType") == 0)
		event->primary.object_type = read_type(event, NULL, value);
	else if (strcmp(key, "objectId") == 0)
		event->primary.object_id = read_id(event, NULL, value, key, body);
	else if (strcmp(key, "externalId") == 0)
		event->primary.external_id = read_id(event, NULL, value, key, body);
	else if (strcmp(key, "name") == 0)
		event->name = read_string(event, NULL, value, key);
	else if (strcmp(key, "description") == 0)
		event->description = read_string(event, NULL, value, key);
	else if (strcmp(key, "icon") == 0)
		event->icon = read_string(event, NULL, value, key);
	else if (strcmp(key, "payload") == 0)
		read_payload(event, body, payload);
	else if (strcmp(key, "relatedObjects") == 0)
		read_related(event, value, body);
	else if (strcmp(key, "occurredAt") == 0)
		read_occurred_at(event, value);
	else if (strcmp(key, "idempotencyKey") == 0)
		read_idempotency_key(event, value);
	else
		report_unknown_field(event, NULL, key);
}

void
atlas_event_read_fields(AtlasEvent *event, json_t *envelope, const AtlasBody *body,
						const AtlasSpan *payload)
{
	const char *key;
	json_t	   *value;

	if (!json_is_object(envelope))
	{
		atlas_add_problem(&event->error, "invalid", event->pointer,
						  "an event must be a JSON object");
		return;
	}
	json_object_foreach(envelope, key, value)
		read_field(event, key, value, body, payload);
	if (event->related_unread && event->nrelated > 0 && event->idempotency_key != NULL &&
		event->error.status == 0)
		event->related_as_sent = related_as_sent(body);
	atlas_event_validate(event);
}
