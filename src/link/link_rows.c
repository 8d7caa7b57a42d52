/*
 * link_rows.c
 *		Rows of atlas_event_links: on whose timelines an event appears besides that
 *		of its primary object.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "link/events_to_link.h"
#include "link/link_rows.h"
#include "link/put_off.h"
#include "store/rows.h"

enum
{
	LINK_EVENT_ID,
	LINK_LINKED_AT,
	LINK_TENANT_ID,
	LINK_OBJECT_TYPE,
	LINK_OBJECT_ID
};

/* The columns, as the install script has them. */
static AtlasTable links_table = {
	.id = ATLAS_EVENT_LINKS,
	.ncolumns = LINK_OBJECT_ID + 1,
	.columns = {
		[LINK_EVENT_ID] = {"event_id", UUIDOID},
		[LINK_LINKED_AT] = {"linked_at", TIMESTAMPTZOID},
		[LINK_TENANT_ID] = {"tenant_id", TEXTOID},
		[LINK_OBJECT_TYPE] = {"object_type", TEXTOID},
		[LINK_OBJECT_ID] = {"object_id", TEXTOID},
	},
	.skips_existing = true,
};

void
atlas_link_rows_init(AtlasRows *rows, int size)
{
	atlas_rows_init(rows, &links_table, size);
}

void
atlas_link_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const AtlasRef *ref, TimestampTz now)
{
	CHECK_FOR_INTERRUPTS();
	atlas_rows_add(rows);
	atlas_rows_set_pointer(rows, LINK_EVENT_ID, event_id);
	atlas_rows_set(rows, LINK_LINKED_AT, TimestampTzGetDatum(now));
	atlas_rows_set_pointer(rows, LINK_TENANT_ID, ref->lookup.tenant);
	atlas_rows_set(rows, LINK_OBJECT_TYPE, CStringGetTextDatum(ref->object_type));
	atlas_rows_set_pointer(rows, LINK_OBJECT_ID, ref->lookup.found_id);
}

/* By type and id. The sort can be interrupted, because there may be many references. */
static int
compare_objects(const void *a, const void *b)
{
	const AtlasRef *left = *(const AtlasRef *const *) a;
	const AtlasRef *right = *(const AtlasRef *const *) b;
	int			result = strcmp(left->object_type, right->object_type);

	CHECK_FOR_INTERRUPTS();
	return result != 0 ? result : atlas_compare_text(left->lookup.found_id, right->lookup.found_id);
}

/* Does the reference name the primary object of its own event? */
static bool
is_primary_object(const AtlasLinkEvent *event, const AtlasRef *ref)
{
	return strcmp(ref->object_type, event->object_type) == 0 &&
		atlas_compare_text(ref->lookup.found_id, event->object_id) == 0;
}

/* The references to the objects to link: each object once, and not the primary one. */
static int
distinct_objects(const AtlasLinkEvent *event, const AtlasRef **refs)
{
	int			nrefs = 0;
	int			ndistinct = 0;

	for (int i = 0; i < event->nrefs; i++)
		if (event->refs[i].outcome == ATLAS_LINKED && !is_primary_object(event, &event->refs[i]))
			refs[nrefs++] = &event->refs[i];
	qsort(refs, nrefs, sizeof(AtlasRef *), compare_objects);
	for (int i = 0; i < nrefs; i++)
		if (i == 0 || compare_objects(&refs[i - 1], &refs[i]) != 0)
			refs[ndistinct++] = refs[i];
	return ndistinct;
}

void
atlas_write_links(const AtlasLinkEvent *events, int nevents, bool may_exist, TimestampTz now)
{
	AtlasRows	rows;

	atlas_link_rows_init(&rows, atlas_count_references(events, nevents));
	for (int i = 0; i < nevents; i++)
	{
		const AtlasRef **refs;
		int			nrefs;

		if (atlas_first_deferred(&events[i]) != NULL)
			continue;
		refs = palloc(sizeof(AtlasRef *) * Max(events[i].nrefs, 1));
		nrefs = distinct_objects(&events[i], refs);
		for (int j = 0; j < nrefs; j++)
			atlas_link_rows_add(&rows, &events[i].key.id, refs[j], now);
		pfree(refs);
	}
	if (may_exist)
		atlas_rows_insert(&rows);
	else
		atlas_rows_write(&rows);
}
