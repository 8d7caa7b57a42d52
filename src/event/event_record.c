/*
 * event_record.c
 *		Reads an event from the composite type atlas_event, or from the named
 *		arguments of submit_event().
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "event/event_record.h"
#include "event/validation.h"

#define REFERENCE_NFIELDS 3

/* Takes a composite value apart into so many fields. Returns false if it is null. */
static bool
deform_record(Datum record, bool isnull, int nfields, Datum *values, bool *nulls)
{
	HeapTupleHeader header;
	TupleDesc	tupdesc;
	HeapTupleData tuple;

	if (isnull)
		return false;

	header = DatumGetHeapTupleHeader(record);
	tupdesc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
									 HeapTupleHeaderGetTypMod(header));
	if (tupdesc->natts != nfields)
	{
		int			natts = tupdesc->natts;

		ReleaseTupleDesc(tupdesc);
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("composite value has %d fields, %d are expected", natts, nfields)));
	}
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, tupdesc, values, nulls);
	ReleaseTupleDesc(tupdesc);
	return true;
}

/* A text that was given, detoasted. */
static text *
text_or_null(Datum value, bool isnull)
{
	return isnull ? NULL : DatumGetTextPP(value);
}

/* A folded object type. An empty one is the same as none. */
static char *
type_or_null(Datum value, bool isnull)
{
	text	   *type = text_or_null(value, isnull);

	if (type == NULL || VARSIZE_ANY_EXHDR(type) == 0)
		return NULL;
	return atlas_fold_object_type(VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type));
}

/* Takes the related objects, which are of the composite type atlas_object. */
static void
take_related(AtlasEvent *event, ArrayType *array)
{
	Datum	   *items;
	bool	   *nulls;
	int			nitems;

	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE,
					  &items, &nulls, &nitems);
	if (!atlas_event_check_related_count(event, nitems))
		return;

	event->related = palloc0(sizeof(AtlasReference) * nitems);
	event->nrelated = nitems;
	for (int i = 0; i < nitems; i++)
	{
		Datum		fields[REFERENCE_NFIELDS];
		bool		isnull[REFERENCE_NFIELDS];
		AtlasReference *reference = &event->related[i];

		if (!deform_record(items[i], nulls[i], REFERENCE_NFIELDS, fields, isnull))
		{
			atlas_event_refuse_related(event, i);
			continue;
		}
		reference->object_type = type_or_null(fields[0], isnull[0]);
		reference->object_id = text_or_null(fields[1], isnull[1]);
		reference->external_id = text_or_null(fields[2], isnull[2]);
	}
}

void
atlas_event_from_datums(AtlasEvent *event, const Datum *values, const bool *nulls)
{
	event->primary.object_type = type_or_null(values[ATLAS_FIELD_OBJECT_TYPE],
											  nulls[ATLAS_FIELD_OBJECT_TYPE]);
	event->primary.object_id = text_or_null(values[ATLAS_FIELD_OBJECT_ID],
											nulls[ATLAS_FIELD_OBJECT_ID]);
	event->primary.external_id = text_or_null(values[ATLAS_FIELD_EXTERNAL_ID],
											  nulls[ATLAS_FIELD_EXTERNAL_ID]);
	event->name = text_or_null(values[ATLAS_FIELD_NAME], nulls[ATLAS_FIELD_NAME]);
	event->description = text_or_null(values[ATLAS_FIELD_DESCRIPTION],
									  nulls[ATLAS_FIELD_DESCRIPTION]);
	event->icon = text_or_null(values[ATLAS_FIELD_ICON], nulls[ATLAS_FIELD_ICON]);
	event->idempotency_key = text_or_null(values[ATLAS_FIELD_IDEMPOTENCY_KEY],
										  nulls[ATLAS_FIELD_IDEMPOTENCY_KEY]);
	if (!nulls[ATLAS_FIELD_PAYLOAD])
		atlas_event_take_payload(event, DatumGetJsonbP(values[ATLAS_FIELD_PAYLOAD]));
	if (!nulls[ATLAS_FIELD_RELATED_OBJECTS])
		take_related(event, DatumGetArrayTypeP(values[ATLAS_FIELD_RELATED_OBJECTS]));
	if (!nulls[ATLAS_FIELD_OCCURRED_AT])
	{
		event->occurred_at_given = true;
		event->occurred_at = DatumGetTimestampTz(values[ATLAS_FIELD_OCCURRED_AT]);
	}

	atlas_event_validate(event);
}

void
atlas_event_from_record(AtlasEvent *event, Datum record, bool isnull)
{
	Datum		values[ATLAS_NFIELDS] = {0};
	bool		nulls[ATLAS_NFIELDS];

	if (!deform_record(record, isnull, ATLAS_NFIELDS, values, nulls))
		memset(nulls, true, sizeof(nulls));
	atlas_event_from_datums(event, values, nulls);
}
