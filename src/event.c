/*
 * event.c
 *		Validation of an event: all that can be said of it without looking at
 *		any table.
 *
 * The readers (event_json.c, event_record.c) fill an AtlasEvent and record what
 * they could not read; then atlas_event_validate() adds what is missing or out
 * of bounds. Every problem is collected, so that a submitter can mend them all
 * at once. Whether the object types exist is asked later, by object_type.c.
 */
#include "postgres.h"

#include <utf8proc.h>

#include "event.h"
#include "mb/pg_wchar.h"
#include "parser/scansup.h"
#include "utils/timestamp.h"

int			atlas_max_event_size = 256 * 1024;
int			atlas_max_related_objects = 100;
int			atlas_max_batch_size = 10000;
int			atlas_oldest_event = 10 * 365 * SECS_PER_DAY;

/* How far a submitter's clock may be ahead of ours. */
#define MAX_CLOCK_LEAD_SECONDS 300

void
atlas_event_init(AtlasEvent *event, const char *pointer, TimestampTz received_at)
{
	memset(event, 0, sizeof(*event));
	event->received_at = received_at;
	event->pointer = pointer;
}

char *
atlas_event_pointer(const AtlasEvent *event, const AtlasReference *reference, const char *field)
{
	if (reference == NULL || reference == &event->primary)
		return psprintf("%s/%s", event->pointer, field);
	return psprintf("%s/relatedObjects/%d/%s", event->pointer,
					(int) (reference - event->related), field);
}

char *
atlas_fold_object_type(const char *type, int length)
{
	char	   *folded = pnstrdup(type, length);

	for (char *c = folded; *c != '\0'; c++)
		*c = (*c == ' ' || *c == '-') ? '_' : pg_ascii_toupper((unsigned char) *c);
	return folded;
}

static int
characters(const text *value)
{
	return pg_mbstrlen_with_len(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

static bool
is_blank(const text *value)
{
	const char *data = VARDATA_ANY(value);

	for (int i = 0; i < VARSIZE_ANY_EXHDR(value); i++)
		if (!scanner_isspace(data[i]))
			return false;
	return true;
}

/* Has a problem been found with this field already, or with what holds it? */
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
report_missing(AtlasEvent *event, const AtlasReference *reference, const char *field,
			   const char *message)
{
	char	   *pointer = atlas_event_pointer(event, reference, field);

	if (!has_problem(event, pointer))
		atlas_add_problem(&event->error, "required", pointer, "%s", message);
}

/* Checks a text of limited length, which may not be blank; NULL is fine. */
static void
check_text(AtlasEvent *event, const AtlasReference *reference, const text *value, int max_length,
		   const char *field)
{
	if (value == NULL)
		return;
	if (is_blank(value))
		atlas_add_problem(&event->error, "blank", atlas_event_pointer(event, reference, field),
						  "must not be empty");
	else if (VARSIZE_ANY_EXHDR(value) > max_length && characters(value) > max_length)
		atlas_add_problem(&event->error, "too_long", atlas_event_pointer(event, reference, field),
						  "has %d characters, at most %d are allowed",
						  characters(value), max_length);
}

static void
check_reference(AtlasEvent *event, const AtlasReference *reference)
{
	if (reference->object_type == NULL)
		report_missing(event, reference, "objectType", "objectType is required");
	if (reference->object_id == NULL && reference->external_id == NULL &&
		!has_problem(event, atlas_event_pointer(event, reference, "externalId")))
		report_missing(event, reference, "objectId", "objectId or externalId is required");
	check_text(event, reference, reference->object_id, ATLAS_MAX_ID_LENGTH, "objectId");
	check_text(event, reference, reference->external_id, ATLAS_MAX_ID_LENGTH, "externalId");
}

/* Is this an absolute http(s) URL without blanks or control characters? */
static bool
is_url(const char *utf8, int length)
{
	int			host;

	if (length > 7 && pg_strncasecmp(utf8, "http://", 7) == 0)
		host = 7;
	else if (length > 8 && pg_strncasecmp(utf8, "https://", 8) == 0)
		host = 8;
	else
		return false;
	if (strchr("/?#:@", utf8[host]) != NULL)
		return false;
	for (int i = 0; i < length; i++)
		if ((unsigned char) utf8[i] <= ' ' || utf8[i] == 0x7f)
			return false;
	return true;
}

/* Is this one grapheme cluster that shows? */
static bool
is_one_grapheme_cluster(const char *utf8, int length)
{
	utf8proc_int32_t previous = -1;
	utf8proc_int32_t state = 0;
	int			position = 0;

	while (position < length)
	{
		utf8proc_int32_t character;
		utf8proc_ssize_t width = utf8proc_iterate((const utf8proc_uint8_t *) utf8 + position,
												  length - position, &character);

		if (width <= 0)
			return false;
		if (previous < 0)
		{
			utf8proc_category_t category = utf8proc_category(character);

			if (category == UTF8PROC_CATEGORY_CN ||
				(category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_CS))
				return false;	/* unassigned, blank, control, format */
		}
		else if (utf8proc_grapheme_break_stateful(previous, character, &state))
			return false;
		previous = character;
		position += width;
	}
	return position > 0;
}

static void
check_icon(AtlasEvent *event)
{
	int			length;
	char	   *utf8;

	if (event->icon == NULL)
		return;
	length = VARSIZE_ANY_EXHDR(event->icon);
	utf8 = pg_server_to_any(VARDATA_ANY(event->icon), length, PG_UTF8);
	if (utf8 != VARDATA_ANY(event->icon))
		length = strlen(utf8);
	if (!is_url(utf8, length) && !is_one_grapheme_cluster(utf8, length))
		atlas_add_problem(&event->error, "invalid", atlas_event_pointer(event, NULL, "icon"),
						  "must be one character (grapheme cluster) or an absolute http(s) URL");
}

static void
check_occurred_at(AtlasEvent *event)
{
	if (!event->occurred_at_given)
	{
		event->occurred_at = event->received_at;
		return;
	}
	if (event->occurred_at >
		TimestampTzPlusMilliseconds(event->received_at, MAX_CLOCK_LEAD_SECONDS * INT64CONST(1000)))
		atlas_add_problem(&event->error, "too_late", atlas_event_pointer(event, NULL, "occurredAt"),
						  "is more than %d minutes ahead of the server's clock",
						  MAX_CLOCK_LEAD_SECONDS / 60);
	else if (event->occurred_at <
			 TimestampTzPlusMilliseconds(event->received_at, -(int64) atlas_oldest_event * 1000) ||
			 event->occurred_at < SetEpochTimestamp())
		atlas_add_problem(&event->error, "too_early", atlas_event_pointer(event, NULL, "occurredAt"),
						  "is longer ago than atlas_events.oldest_event, or before 1970");
}

static Size
text_size(const text *value)
{
	return value == NULL ? 0 : VARSIZE_ANY_EXHDR(value);
}

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
	/* An event that was too large to be read is not picked apart. */
	if (event->error.status == ATLAS_TOO_LARGE)
		return;

	check_reference(event, &event->primary);
	if (event->name == NULL)
		report_missing(event, NULL, "name", "name is required");
	check_text(event, NULL, event->name, ATLAS_MAX_NAME_LENGTH, "name");
	check_text(event, NULL, event->idempotency_key, ATLAS_MAX_ID_LENGTH, "idempotencyKey");
	check_icon(event);
	check_occurred_at(event);
	for (int i = 0; i < event->nrelated; i++)
		check_reference(event, &event->related[i]);
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
