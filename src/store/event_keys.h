/*
 * event_keys.h
 *		Events by tenant and id, and how statements are given many of them.
 */
#ifndef ATLAS_EVENT_KEYS_H
#define ATLAS_EVENT_KEYS_H

#include "catalog/pg_type.h"
#include "storage/itemptr.h"
#include "utils/uuid.h"

/* What identifies an event in each of our tables. */
typedef struct AtlasEventKey
{
	text	   *tenant;
	pg_uuid_t	id;

	/* What its row in the queue, or in the work table, says, if it was claimed. */
	uint64		submitted_xid;
	ItemPointerData place;		/* of the row */
	int16		attempts;		/* that have failed */
	int16		depth;			/* how many rules led to it */
	int16		what;			/* see work.h; 0 in the queue */
} AtlasEventKey;

/* The order of ids, and of tenants where ids are equal. */
extern int	atlas_event_key_compare(const void *a, const void *b);

/* A copy in this memory context, of the tenants as well. */
extern AtlasEventKey *atlas_event_keys_copy(const AtlasEventKey *keys, int nkeys,
											MemoryContext context);

/* Takes the keys out of the rows that SPI found; the columns are numbered from 1. */
extern void atlas_event_keys_take(AtlasEventKey *keys, int tenant_column, int id_column);

/*
 * A statement that is about many events has their tenants and ids as its first parameters.
 * It looks each of them up in an index that begins with (tenant_id, event_id):
 *
 * A SELECT has ATLAS_IS_KEY in a LATERAL subquery with OFFSET 0. An UPDATE or DELETE, whose
 * table cannot be in a subquery, has ATLAS_FINDS_KEY, which is the same, and is nothing by
 * which the planner could join. Otherwise it would read the whole queue, with all entries
 * of dead rows, once a vacuum has found it empty.
 */
#define ATLAS_KEYS_NPARAMETERS 2
#define ATLAS_KEYS_PARAMETERS TEXTARRAYOID, UUIDARRAYOID
#define ATLAS_KEYS \
	"ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS k (tenant_id, event_id)"
#define ATLAS_IS_KEY(table) \
	table ".tenant_id OPERATOR(pg_catalog.=) k.tenant_id" \
	" AND " table ".event_id OPERATOR(pg_catalog.=) k.event_id"
#define ATLAS_FINDS_KEY(table) \
	table ".tenant_id OPERATOR(pg_catalog.=) ANY (ARRAY[k.tenant_id])" \
	" AND " table ".event_id OPERATOR(pg_catalog.>=) k.event_id" \
	" AND " table ".event_id OPERATOR(pg_catalog.<=) k.event_id"

/* Sets those parameters. */
extern void atlas_event_keys_values(const AtlasEventKey *keys, int nkeys, Datum *values);

/* The places of their rows, as a parameter. */
extern Datum atlas_event_keys_places(const AtlasEventKey *keys, int nkeys);

#endif							/* ATLAS_EVENT_KEYS_H */
