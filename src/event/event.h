/*
 * event.h
 *		An event as it was submitted: from JSON, from the composite type or
 *		from arguments; validated as far as that goes without looking at any
 *		table.
 */
#ifndef ATLAS_EVENT_H
#define ATLAS_EVENT_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "event/error.h"

#define ATLAS_MAX_ID_LENGTH 255		/* characters of an id or a key */
#define ATLAS_MAX_NAME_LENGTH 255	/* characters of the name */
#define ATLAS_MAX_TYPE_LENGTH 63	/* bytes of an object type */

/* A reference to a support object. */
typedef struct AtlasReference
{
	char	   *object_type;	/* folded: upper case, '_' for blank and hyphen */
	text	   *object_id;		/* NULL when not given, like all of these */
	text	   *external_id;
	const char *problem;		/* why a related object can never be looked up */
} AtlasReference;

typedef struct AtlasEvent
{
	AtlasReference primary;
	text	   *name;
	text	   *description;
	text	   *icon;
	Jsonb	   *payload;
	AtlasReference *related;
	int			nrelated;
	bool		related_unread; /* some of them had what the references do not tell */
	Jsonb	   *related_as_sent;	/* then, with an idempotency key: all of them */
	bool		occurred_at_given;
	TimestampTz occurred_at;	/* received_at when not given */
	TimestampTz received_at;
	text	   *idempotency_key;

	Size		size;			/* bytes that count against max_event_size */
	const char *pointer;		/* JSON pointer of the event: "" or "/3" */
	AtlasError	error;			/* why it is refused, if it is */
} AtlasEvent;

/* The fields of the composite type atlas_event, and the arguments, in order. */
typedef enum AtlasEventField
{
	ATLAS_FIELD_OBJECT_TYPE,
	ATLAS_FIELD_OBJECT_ID,
	ATLAS_FIELD_EXTERNAL_ID,
	ATLAS_FIELD_NAME,
	ATLAS_FIELD_DESCRIPTION,
	ATLAS_FIELD_ICON,
	ATLAS_FIELD_PAYLOAD,
	ATLAS_FIELD_RELATED_OBJECTS,
	ATLAS_FIELD_OCCURRED_AT,
	ATLAS_FIELD_IDEMPOTENCY_KEY,
	ATLAS_NFIELDS
} AtlasEventField;

/* Settings, see atlas_events.c. */
extern int	atlas_max_event_size;	/* bytes */
extern int	atlas_max_related_objects;
extern int	atlas_max_batch_size;
extern int	atlas_oldest_event; /* seconds */
extern int	atlas_max_clock_skew;	/* seconds */

/* event.c */

/* An empty event. */
extern void atlas_event_init(AtlasEvent *event, const char *pointer, TimestampTz received_at);

/*
 * Checks all that can be checked without a table and collects every problem in
 * event->error. The readers below call it.
 */
extern void atlas_event_validate(AtlasEvent *event);

/* Refuses an event that has too many related objects. */
extern bool atlas_event_check_related_count(AtlasEvent *event, int nrelated);

/* Refuses an event, or its request, of more than max_event_size bytes. */
extern void atlas_event_check_size(AtlasEvent *event, Size size);

/* Refuses more events in one call than max_batch_size. */
extern void atlas_event_check_batch_size(int nevents);

/* JSON pointer of a field of the event, palloc'd. */
extern char *atlas_event_pointer(const AtlasEvent *event, const char *field);

/*
 * Notes what is wrong with a field of the event, or of one of its references: a
 * problem of the event if it is the primary one (or NULL), else of the reference, as
 * whatever is wrong with a related object refuses no event.
 */
extern void atlas_event_note(AtlasEvent *event, AtlasReference *reference, const char *code,
							 const char *field, const char *message_format,...)
			pg_attribute_printf(5, 6);

/* Sets a payload that came as jsonb. */
extern void atlas_event_take_payload(AtlasEvent *event, Jsonb *payload);

/* A related object that is no object at all refuses the event. */
extern void atlas_event_refuse_related(AtlasEvent *event, int index);

/* Folds an object type the way that input is folded, palloc'd. */
extern char *atlas_fold_object_type(const char *type, int length);

/* event_record.c */
extern void atlas_event_from_datums(AtlasEvent *event, const Datum *values, const bool *nulls);
extern void atlas_event_from_record(AtlasEvent *event, Datum record, bool isnull);

/*
 * event_json.c: the request body of the Events API, in the server's encoding, or as
 * jsonb. An idempotency key that is set beforehand counts as if the body had it.
 */
extern void atlas_event_from_json(AtlasEvent *event, const char *json, Size length);
extern void atlas_event_from_jsonb(AtlasEvent *event, Jsonb *jsonb);
extern AtlasEvent *atlas_events_from_json(const char *json, Size length, int *nevents);
extern AtlasEvent *atlas_events_from_jsonb(Jsonb *jsonb, int *nevents);

/*
 * event_related.c: the related objects as the log stores them, and what is to be
 * known of one of them when it is linked
 */
extern Jsonb *atlas_references_to_jsonb(const AtlasReference *references, int nreferences);
extern AtlasReference atlas_reference_from_jsonb(const JsonbValue *item);

#endif							/* ATLAS_EVENT_H */
