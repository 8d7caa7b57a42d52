/*
 * validation.c
 *		Validation of an event: everything that can be checked without looking at
 *		any table.
 *
 * The readers (event_json.c, event_record.c) fill an AtlasEvent and record what they
 * could not read. Then atlas_event_validate() adds the fields that are missing or out of
 * bounds. All problems are collected, so that a submitter can mend them all at once. What
 * is wrong with a related object is noted with that object and becomes its outcome when
 * the event is linked. submit.c checks later whether the object types exist.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "parser/scansup.h"
#include "utils/timestamp.h"

#include "event/conversion.h"
#include "event/jsonb_text.h"
#include "event/validation.h"
#include "event/visible.h"

int			atlas_max_event_size = 256 * 1024;
int			atlas_max_related_objects = 100;
int			atlas_max_batch_size = 10000;
int			atlas_oldest_event = 10 * 365 * SECS_PER_DAY;
int			atlas_max_clock_skew = 300;

void
atlas_event_init(AtlasEvent *event, const char *pointer, TimestampTz received_at)
{
	memset(event, 0, sizeof(*event));
	event->received_at = received_at;
	event->pointer = pointer;
}

char *
atlas_event_pointer(const AtlasEvent *event, const char *field)
{
	return psprintf("%s/%s", event->pointer, field);
}

/*
 * Only the first problem of a related object is kept, because its outcome has room for
 * one.
 */
void
atlas_event_note(AtlasEvent *event, AtlasReference *reference, const char *code, const char *field,
				 const char *message_format,...)
{
	bool		is_primary = reference == NULL || reference == &event->primary;
	char		message[ATLAS_MAX_MESSAGE + 1];
	va_list		args;

	if (is_primary ? event->error.is_full : reference->problem != NULL)
		return;
	va_start(args, message_format);
	atlas_format_message(message, message_format, args);
	va_end(args);
	if (is_primary)
		atlas_add_problem(&event->error, code, atlas_event_pointer(event, field), "%s", message);
	else
		reference->problem = psprintf("%s %s", field, message);
}

void
atlas_event_refuse_related(AtlasEvent *event, int index)
{
	if (!event->error.is_full)
		atlas_add_problem(&event->error, "invalid",
						  psprintf("%s/relatedObjects/%d", event->pointer, index),
						  "must be an object");
}

/* A payload that is no object is kept until the event is refused for it. */
void
atlas_event_take_payload(AtlasEvent *event, Jsonb *payload)
{
	event->payload = payload;
	event->size += atlas_jsonb_text_length(&payload->root);
	if (!JB_ROOT_IS_OBJECT(payload))
		atlas_event_note(event, NULL, "invalid", "payload", "must be a JSON object");
}

/* Letters beyond ASCII stay as they are, in every encoding and locale. */
char *
atlas_fold_object_type(const char *type, int length)
{
	char	   *folded = pnstrdup(type, length);

	for (char *c = folded; *c != '\0'; c++)
		*c = (*c == ' ' || *c == '-') ? '_' : pg_ascii_toupper((unsigned char) *c);
	return folded;
}

/* The length of a text in characters. */
static int
characters(const text *value)
{
	return pg_mbstrlen_with_len(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* Is the text empty, or does it consist of white space? */
static bool
is_blank(const text *value)
{
	const char *data = VARDATA_ANY(value);

	for (int i = 0; i < VARSIZE_ANY_EXHDR(value); i++)
		if (!scanner_isspace(data[i]))
			return false;
	return true;
}

#define TYPE_REQUIRED "objectType is required"
#define ID_REQUIRED "objectId or externalId is required"

/* Has a problem been found already with this field, or with what holds it? */
static bool
has_problem(const AtlasEvent *event, const char *pointer)
{
	ListCell   *cell;

	foreach(cell, event->error.problems)
	{
		const char *field = ((AtlasProblem *) lfirst(cell))->field;
		size_t		length = strlen(field);

		if (strncmp(field, pointer, length) == 0 &&
			(pointer[length] == '\0' || pointer[length] == '/'))
			return true;
	}
	return false;
}

/* Reports that a field is missing, unless it was there and could not be read. */
static void
report_missing(AtlasEvent *event, const char *field, const char *message)
{
	char	   *pointer = atlas_event_pointer(event, field);

	if (!has_problem(event, pointer))
		atlas_add_problem(&event->error, "required", pointer, "%s", message);
}

/* Checks a text of limited length, which may not be blank. It may be NULL. */
static void
check_text(AtlasEvent *event, AtlasReference *reference, const text *value, int max_length,
		   const char *field)
{
	if (value == NULL)
		return;
	if (is_blank(value))
		atlas_event_note(event, reference, "blank", field, "must not be empty");
	else if (VARSIZE_ANY_EXHDR(value) > max_length && characters(value) > max_length)
		atlas_event_note(event, reference, "too_long", field,
						 "has %d characters, at most %d are allowed",
						 characters(value), max_length);
}

/* Checks the two ids of a reference, as far as they are given. */
static void
check_ids(AtlasEvent *event, AtlasReference *reference)
{
	check_text(event, reference, reference->object_id, ATLAS_MAX_ID_LENGTH, "objectId");
	check_text(event, reference, reference->external_id, ATLAS_MAX_ID_LENGTH, "externalId");
}

/*
 * Checks the primary object. If one of its ids could not be read, the other one is not
 * called missing.
 */
static void
check_primary(AtlasEvent *event)
{
	AtlasReference *primary = &event->primary;

	if (primary->object_type == NULL)
		report_missing(event, "objectType", TYPE_REQUIRED);
	if (primary->object_id == NULL && primary->external_id == NULL &&
		!has_problem(event, atlas_event_pointer(event, "externalId")))
		report_missing(event, "objectId", ID_REQUIRED);
	check_ids(event, primary);
}

/* Checks a related object, whose first problem becomes its outcome. */
static void
check_related(AtlasEvent *event, AtlasReference *reference)
{
	if (reference->problem != NULL)
		return;
	if (reference->object_type == NULL)
		reference->problem = TYPE_REQUIRED;
	else if (reference->object_id == NULL && reference->external_id == NULL)
		reference->problem = ID_REQUIRED;
	else
		check_ids(event, reference);
}

/* A name has a limited length, and people must be able to see it. */
static void
check_event_name(AtlasEvent *event)
{
	Size		length;
	char	   *utf8;
	const char *code;
	const char *problem;

	if (event->name == NULL)
	{
		report_missing(event, "name", "name is required");
		return;
	}
	check_text(event, NULL, event->name, ATLAS_MAX_NAME_LENGTH, "name");
	utf8 = atlas_to_utf8(VARDATA_ANY(event->name), VARSIZE_ANY_EXHDR(event->name), &length);

	/* In a database of SQL_ASCII a text may have bytes that are not UTF-8. */
	problem = utf8 == NULL ? NULL : atlas_problem_of_name(utf8, length, &code);
	if (problem != NULL && !is_blank(event->name))
		atlas_event_note(event, NULL, code, "name", "%s", problem);
}

/* An icon is one visible character, or a URL. */
static void
check_icon(AtlasEvent *event)
{
	Size		length;
	char	   *utf8;

	if (event->icon == NULL)
		return;
	utf8 = atlas_to_utf8(VARDATA_ANY(event->icon), VARSIZE_ANY_EXHDR(event->icon), &length);
	if (utf8 == NULL ||
		(!atlas_is_url(utf8, length) && !atlas_is_visible_character(utf8, length)))
		atlas_event_note(event, NULL, "invalid", "icon",
						 "must be one character (grapheme cluster) that shows, or an absolute http(s) URL of at most %d characters",
						 ATLAS_MAX_URL_LENGTH);
}

/*
 * The time of an event must be within the window that the settings allow, and not before
 * 1970, as event ids begin there. Without one the event occurred now.
 */
static void
check_occurred_at(AtlasEvent *event)
{
	if (!event->occurred_at_given)
	{
		event->occurred_at = event->received_at;
		return;
	}
	if (event->occurred_at >
		TimestampTzPlusMilliseconds(event->received_at, (int64) atlas_max_clock_skew * 1000))
		atlas_event_note(event, NULL, "too_late", "occurredAt",
						 "is further ahead of the server's clock than atlas_events.max_clock_skew");
	else if (event->occurred_at <
			 TimestampTzPlusMilliseconds(event->received_at, -(int64) atlas_oldest_event * 1000) ||
			 event->occurred_at < SetEpochTimestamp())
		atlas_event_note(event, NULL, "too_early", "occurredAt",
						 "is longer ago than atlas_events.oldest_event, or before 1970");
}

/* The bytes of a text that count against max_event_size. */
static Size
text_size(const text *value)
{
	return value == NULL ? 0 : VARSIZE_ANY_EXHDR(value);
}

/* The bytes of a reference that count against max_event_size. */
static Size
reference_size(const AtlasReference *reference)
{
	return (reference->object_type == NULL ? 0 : strlen(reference->object_type)) +
		text_size(reference->object_id) + text_size(reference->external_id);
}

void
atlas_event_check_size(AtlasEvent *event, Size size)
{
	if (size > atlas_max_event_size)
		atlas_refuse(&event->error, ATLAS_TOO_LARGE,
					 psprintf("atlas_events.max_event_size is %d bytes, the event has %zu.",
							  atlas_max_event_size, size),
					 "Shorten the description or the payload.");
}

/* Adds up the fields that have not been counted yet. */
static void
check_size(AtlasEvent *event)
{
	event->size += reference_size(&event->primary) + text_size(event->name) +
		text_size(event->description) + text_size(event->icon) +
		text_size(event->idempotency_key);
	for (int i = 0; i < event->nrelated; i++)
		event->size += reference_size(&event->related[i]);
	atlas_event_check_size(event, event->size);
}

void
atlas_event_validate(AtlasEvent *event)
{
	/* An event that was too large to be read has nothing that could be checked. */
	if (event->error.status == ATLAS_TOO_LARGE)
		return;

	check_primary(event);
	check_event_name(event);
	check_text(event, NULL, event->idempotency_key, ATLAS_MAX_ID_LENGTH, "idempotencyKey");
	check_icon(event);
	check_occurred_at(event);
	for (int i = 0; i < event->nrelated; i++)
		check_related(event, &event->related[i]);
	check_size(event);
}

bool
atlas_event_check_related_count(AtlasEvent *event, int nrelated)
{
	if (nrelated <= atlas_max_related_objects)
		return true;
	atlas_refuse(&event->error, ATLAS_TOO_LARGE,
				 psprintf("atlas_events.max_related_objects is %d, the event has %d.",
						  atlas_max_related_objects, nrelated),
				 "Name fewer related objects.");
	return false;
}

void
atlas_event_check_batch_size(int nevents)
{
	AtlasError	error = {0};

	if (nevents <= atlas_max_batch_size)
		return;
	atlas_refuse(&error, ATLAS_TOO_LARGE,
				 psprintf("atlas_events.max_batch_size is %d events, the call has %d.",
						  atlas_max_batch_size, nevents),
				 "Submit the events in several calls.");
	atlas_raise(&error);
}
