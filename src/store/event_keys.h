/*
 * event_keys.h
 *		Events by tenant and id, and how statements are given many of them.
 */
#ifndef ATLAS_EVENT_KEYS_H
#define ATLAS_EVENT_KEYS_H

#include "catalog/pg_type.h"
#include "utils/uuid.h"

/* What identifies an event in each of our tables. */
typedef struct AtlasEventKey
{
	text	   *tenant;
	pg_uuid_t	id;
} AtlasEventKey;

/* The order of ids, and of tenants where ids are equal. */
extern int	atlas_event_key_compare(const void *a, const void *b);

/* A copy in this memory context, of the tenants as well. */
extern AtlasEventKey *atlas_event_keys_copy(const AtlasEventKey *keys, int nkeys,
											MemoryContext context);

/* Takes the keys out of the rows that SPI found; the columns are numbered from 1. */
extern void atlas_event_keys_take(AtlasEventKey *keys, int tenant_column, int id_column);

/*
 * The first parameters of a statement that is about many events: a row for each tenant,
 * and the ids of all events in one array, of which each tenant has a part. So a tenant's
 * events are one scan of an index that begins with (tenant_id, event_id), and a batch of
 * many tenants is one statement.
 *
 * ATLAS_IS_KEY can be nothing but a lookup in an index. With a plain = for the tenant the
 * planner might join by hashing: it would read the whole queue, with all dead rows, once
 * a vacuum has found it empty.
 */
#define ATLAS_KEYS_NPARAMETERS 4
#define ATLAS_KEYS_PARAMETERS TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID, UUIDARRAYOID
#define ATLAS_KEYS \
	"ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))" \
	" AS k (tenant_id, first, last)"
#define ATLAS_IS_KEY(table) \
	table ".tenant_id OPERATOR(pg_catalog.=) ANY (ARRAY[k.tenant_id])" \
	" AND " table ".event_id OPERATOR(pg_catalog.=) ANY ($4[k.first:k.last])"

/* Sets those parameters. */
extern void atlas_event_keys_values(const AtlasEventKey *keys, int nkeys, Datum *values);

#endif							/* ATLAS_EVENT_KEYS_H */
