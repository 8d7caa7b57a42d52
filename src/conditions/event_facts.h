/*
 * event_facts.h
 *		The event as conditions see it: what was submitted and never changes, as jsonb.
 *
 * Keys and forms of values are those in which the API shows an event. What may change
 * afterwards is not there: processingStatus, attempts, lastError, linkedAt, and the outcomes
 * of related objects, which are those of the log. So a condition has the same answer
 * whenever it is asked, and a rule the same as a search. A field that was not given is null.
 * Times are in UTC, whatever the time zone of the session is, in a form whose text order is
 * the order of the times: 2026-11-20T09:30:00+00:00, with a fraction if there is one.
 */
#ifndef ATLAS_EVENT_FACTS_H
#define ATLAS_EVENT_FACTS_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/jsonb.h"

/* The fields, in the order in which jsonb keeps their keys. */
typedef enum AtlasFact
{
	ATLAS_FACT_ICON,
	ATLAS_FACT_NAME,
	ATLAS_FACT_EVENT_ID,
	ATLAS_FACT_PAYLOAD,
	ATLAS_FACT_OBJECT_ID,
	ATLAS_FACT_EXTERNAL_ID,
	ATLAS_FACT_OBJECT_TYPE,
	ATLAS_FACT_OCCURRED_AT,
	ATLAS_FACT_RECEIVED_AT,
	ATLAS_FACT_DESCRIPTION,
	ATLAS_FACT_RELATED_OBJECTS
} AtlasFact;

/* The columns of the log that have them, in this order; e is the event. */
#define ATLAS_FACT_COLUMNS \
	"e.icon, e.name, e.event_id, e.payload, e.object_id, e.external_id, e.object_type," \
	" e.occurred_at, e.received_at, e.description, e.related_objects"

#define ATLAS_NFACTS (ATLAS_FACT_RELATED_OBJECTS + 1)

/* A set of them has a bit for each. */
typedef uint32 AtlasFactSet;

#define ATLAS_NO_FACTS ((AtlasFactSet) 0)
#define ATLAS_ALL_FACTS ((AtlasFactSet) ((1 << ATLAS_NFACTS) - 1))

static inline bool
atlas_has_fact(AtlasFactSet set, AtlasFact fact)
{
	return (set & (1 << fact)) != 0;
}

/* Their values, in the types of the columns of the log. */
typedef struct AtlasEventFacts
{
	Datum		values[ATLAS_NFACTS];
	bool		nulls[ATLAS_NFACTS];
} AtlasEventFacts;

/*
 * Takes them out of a row that has ATLAS_FACT_COLUMNS from this column on, counted from 1. The row stays.
 */
extern void atlas_event_facts_take(AtlasEventFacts *facts, HeapTuple row, TupleDesc tupdesc, int column);

/* The set that has the fact with this key; without such a fact, the empty one. */
extern AtlasFactSet atlas_fact_of_key(const char *key, int length);

/*
 * The event with the wanted fields, palloc'd. The others are left out, because they are not
 * looked at: values need not be set for them.
 */
extern Jsonb *atlas_event_as_jsonb(const AtlasEventFacts *facts, AtlasFactSet wanted);

#endif							/* ATLAS_EVENT_FACTS_H */
