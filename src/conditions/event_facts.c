/*
 * event_facts.c
 *		The event as conditions see it, made of a row of the log.
 *
 * The jsonb is put together here and not by PostgreSQL's functions, because these would take
 * payload and related objects apart and make them anew, value by value. They are containers
 * already, and are copied as they are. utils/jsonb.h describes the format.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "conditions/event_facts.h"
#include "lib/stringinfo.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/uuid.h"

#define MAX_COLUMNS_BEFORE 1	/* the facts in a row */

/* How a column becomes a value. */
typedef enum FactForm
{
	FACT_TEXT,
	FACT_UUID,
	FACT_TIME,
	FACT_JSONB
} FactForm;

typedef struct FactField
{
	const char *key;
	FactForm	form;
} FactField;

/* jsonb sorts keys by their lengths first. */
static const FactField fact_fields[ATLAS_NFACTS] = {
	[ATLAS_FACT_ICON] = {"icon", FACT_TEXT},
	[ATLAS_FACT_NAME] = {"name", FACT_TEXT},
	[ATLAS_FACT_EVENT_ID] = {"eventId", FACT_UUID},
	[ATLAS_FACT_PAYLOAD] = {"payload", FACT_JSONB},
	[ATLAS_FACT_OBJECT_ID] = {"objectId", FACT_TEXT},
	[ATLAS_FACT_EXTERNAL_ID] = {"externalId", FACT_TEXT},
	[ATLAS_FACT_OBJECT_TYPE] = {"objectType", FACT_TEXT},
	[ATLAS_FACT_OCCURRED_AT] = {"occurredAt", FACT_TIME},
	[ATLAS_FACT_RECEIVED_AT] = {"receivedAt", FACT_TIME},
	[ATLAS_FACT_DESCRIPTION] = {"description", FACT_TEXT},
	[ATLAS_FACT_RELATED_OBJECTS] = {"relatedObjects", FACT_JSONB},
};

/* An object of so few keys has one offset among its entries, and else lengths. */
StaticAssertDecl(2 * ATLAS_NFACTS <= JB_OFFSET_STRIDE, "entries have one offset");

/* At once, because whoever looks for a column walks through those before it. */
void
atlas_event_facts_take(AtlasEventFacts *facts, HeapTuple row, TupleDesc tupdesc, int column)
{
	Datum		values[ATLAS_NFACTS + MAX_COLUMNS_BEFORE];
	bool		nulls[ATLAS_NFACTS + MAX_COLUMNS_BEFORE];

	Assert(tupdesc->natts == column - 1 + ATLAS_NFACTS && column <= MAX_COLUMNS_BEFORE + 1);
	heap_deform_tuple(row, tupdesc, values, nulls);
	memcpy(facts->values, values + column - 1, sizeof(facts->values));
	memcpy(facts->nulls, nulls + column - 1, sizeof(facts->nulls));
}

AtlasFactSet
atlas_fact_of_key(const char *key, int length)
{
	for (int i = 0; i < ATLAS_NFACTS; i++)
		if (strlen(fact_fields[i].key) == length && memcmp(fact_fields[i].key, key, length) == 0)
			return 1 << i;
	return ATLAS_NO_FACTS;
}

/* Adds a string, and returns the entry for it. */
static JEntry
put_string(StringInfo data, const char *string, int length)
{
	appendBinaryStringInfo(data, string, length);
	return JENTRY_ISSTRING | length;
}

static JEntry
put_id(StringInfo data, Datum value)
{
	char	   *string = DatumGetCString(DirectFunctionCall1(uuid_out, value));

	return put_string(data, string, strlen(string));
}

/* Adds a time in UTC. */
static JEntry
put_moment(StringInfo data, Datum value)
{
	char		buffer[MAXDATELEN + 1];
	int			utc = 0;

	JsonEncodeDateTime(buffer, value, TIMESTAMPTZOID, &utc);
	return put_string(data, buffer, strlen(buffer));
}

/* Adds a value that is jsonb already. One that is a scalar is an array of one value. */
static JEntry
put_jsonb(StringInfo data, Datum value)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);
	const char *content = VARDATA(jsonb);
	int			length = VARSIZE(jsonb) - VARHDRSZ;
	JEntry		entry = JENTRY_ISCONTAINER;
	int			begin = data->len;

	if (JB_ROOT_IS_SCALAR(jsonb))
	{
		entry = jsonb->root.children[0] & JENTRY_TYPEMASK;
		content += offsetof(JsonbContainer, children) + sizeof(JEntry);
		length -= offsetof(JsonbContainer, children) + sizeof(JEntry);
	}
	/* The padding belongs to the value. */
	if (entry == JENTRY_ISCONTAINER || entry == JENTRY_ISNUMERIC)
		while (data->len != INTALIGN(data->len))
			appendStringInfoChar(data, '\0');
	appendBinaryStringInfo(data, content, length);
	return entry | (data->len - begin);
}

/* Adds the value of a field, and returns the entry for it. */
static JEntry
put_fact(StringInfo data, FactForm form, Datum value)
{
	text	   *string;

	switch (form)
	{
		case FACT_UUID:
			return put_id(data, value);
		case FACT_TIME:
			return put_moment(data, value);
		case FACT_JSONB:
			return put_jsonb(data, value);
		case FACT_TEXT:
			break;
	}
	string = DatumGetTextPP(value);
	return put_string(data, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
}

Jsonb *
atlas_event_as_jsonb(const AtlasEventFacts *facts, AtlasFactSet wanted)
{
	JEntry		entries[2 * ATLAS_NFACTS];
	StringInfoData data;
	int			nkeys = pg_popcount32(wanted);
	int			entry = 0;
	int			start = offsetof(Jsonb, root) + offsetof(JsonbContainer, children) + sizeof(JEntry) * 2 * nkeys;
	Jsonb	   *event;

	/* Room for what comes before the data, which begins at an aligned place. */
	initStringInfo(&data);
	enlargeStringInfo(&data, start);
	data.len = start;
	for (int i = 0; i < ATLAS_NFACTS; i++)
		if (atlas_has_fact(wanted, i))
			entries[entry++] = put_string(&data, fact_fields[i].key, strlen(fact_fields[i].key));
	for (int i = 0; i < ATLAS_NFACTS; i++)
		if (atlas_has_fact(wanted, i))
			entries[entry++] = facts->nulls[i] ? JENTRY_ISNULL :
				put_fact(&data, fact_fields[i].form, facts->values[i]);
	if (data.len - start > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the event is too large for a condition")));

	event = (Jsonb *) data.data;
	SET_VARSIZE(event, data.len);
	event->root.header = JB_FOBJECT | nkeys;
	if (nkeys > 0)
		entries[0] |= JENTRY_HAS_OFF;	/* of the end of the first one, which is its length */
	memcpy(event->root.children, entries, sizeof(JEntry) * entry);
	return event;
}
