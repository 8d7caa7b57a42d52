/*
 * event_keys.c
 *		Events by tenant and id, and how statements are given many of them.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "store/event_keys.h"

int
atlas_event_key_compare(const void *a, const void *b)
{
	const AtlasEventKey *left = a;
	const AtlasEventKey *right = b;
	int			result = atlas_event_id_compare(&left->id, &right->id);

	return result != 0 ? result : atlas_compare_text(left->tenant, right->tenant);
}

/* Are both of the same tenant? Keys of a batch often share the text. */
static bool
same_tenant(const AtlasEventKey *a, const AtlasEventKey *b)
{
	return a->tenant == b->tenant || atlas_compare_text(a->tenant, b->tenant) == 0;
}

AtlasEventKey *
atlas_event_keys_copy(const AtlasEventKey *keys, int nkeys, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	AtlasEventKey *copy = palloc(sizeof(AtlasEventKey) * Max(nkeys, 1));

	for (int i = 0; i < nkeys; i++)
	{
		copy[i] = keys[i];
		copy[i].tenant = i > 0 && same_tenant(&keys[i - 1], &keys[i]) ?
			copy[i - 1].tenant :
			(text *) DatumGetPointer(datumCopy(PointerGetDatum(keys[i].tenant), false, -1));
	}
	MemoryContextSwitchTo(old);
	return copy;
}

void
atlas_event_keys_take(AtlasEventKey *keys, int tenant_column, int id_column)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	bool		isnull;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		text	   *tenant = DatumGetTextPP(SPI_getbinval(row, tupdesc, tenant_column, &isnull));

		keys[i].id = *DatumGetUUIDP(SPI_getbinval(row, tupdesc, id_column, &isnull));
		ItemPointerSetInvalid(&keys[i].place);
		keys[i].tenant = i > 0 && atlas_compare_text(keys[i - 1].tenant, tenant) == 0 ?
			keys[i - 1].tenant : atlas_result_text(row, tupdesc, tenant_column);
	}
}

void
atlas_event_keys_values(const AtlasEventKey *keys, int nkeys, Datum *values)
{
	AtlasColumn tenants;
	AtlasColumn ids;

	atlas_column_init(&tenants, nkeys);
	atlas_column_init(&ids, nkeys);
	for (int i = 0; i < nkeys; i++)
	{
		CHECK_FOR_INTERRUPTS();
		atlas_column_add_pointer(&tenants, keys[i].tenant);
		atlas_column_add(&ids, UUIDPGetDatum(&keys[i].id));
	}
	values[0] = atlas_column_array(&tenants, TEXTOID);
	values[1] = atlas_column_array(&ids, UUIDOID);
}

Datum
atlas_event_keys_places(const AtlasEventKey *keys, int nkeys)
{
	AtlasColumn places;

	atlas_column_init(&places, nkeys);
	for (int i = 0; i < nkeys; i++)
		atlas_column_add_pointer(&places, &keys[i].place);
	return atlas_column_array(&places, TIDOID);
}
