/*
 * event.h
 *		Types only: an event as it was submitted, from JSON, from the composite
 *		type or from arguments, and what is wrong with it. Everything here is known
 *		without looking at any table.
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
	text	   *object_id;		/* NULL if it was not given, like all of these */
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
	bool		related_unread; /* something of them could not be read, and is not in related */
	Jsonb	   *related_as_sent;	/* all of them, then, if there is an idempotency key */
	bool		occurred_at_given;
	TimestampTz occurred_at;	/* received_at if it was not given */
	TimestampTz received_at;
	text	   *idempotency_key;

	Size		size;			/* bytes that count against max_event_size */
	const char *pointer;		/* JSON pointer of the event: "" or "/3" */
	AtlasError	error;			/* why it is refused, if it is */
} AtlasEvent;

/* The fields of an event, in the order of the composite type atlas_event. */
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

#endif							/* ATLAS_EVENT_H */
