/*
 * index_lookup.h
 *		Looking an object up in an index of its table, without a query.
 */
#ifndef ATLAS_INDEX_LOOKUP_H
#define ATLAS_INDEX_LOOKUP_H

#include "access/attnum.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* A column that is compared with a value. */
typedef struct AtlasKeyColumn
{
	AttrNumber	attribute;		/* 0: there is none */
	Oid			type;			/* base type */
} AtlasKeyColumn;

/* An index in which rows are found by a key, and by the tenant if there is one. */
typedef struct AtlasLookupIndex
{
	Oid			index;			/* InvalidOid: a query is needed */
	int			nkeys;			/* leading columns that are compared */
	int			key_position;	/* of the key among them */
	int			tenant_position;	/* likewise; -1: it is compared in the row */
	AtlasKeyColumn key;
	AtlasKeyColumn tenant;
} AtlasLookupIndex;

/*
 * Chooses the index of a table that is locked. None when the rows may come from
 * elsewhere, or be hidden from the owner of the table, or no index does.
 */
extern void atlas_choose_index(Oid relation, const AtlasKeyColumn *key,
							   const AtlasKeyColumn *tenant, AtlasLookupIndex *choice);

/*
 * May the owner of a table read it in a query? To be asked at every lookup: what a
 * role may do changes, through other roles, without a word about the table.
 */
extern bool atlas_may_read(Oid relation, Oid owner);

/* Lookups in one index, one after the other. The table is locked. */
typedef struct AtlasIndexScan AtlasIndexScan;

extern AtlasIndexScan *atlas_index_scan_begin(Oid relation, const AtlasLookupIndex *index);

/* Looks for another key. */
extern void atlas_index_scan_key(AtlasIndexScan *scan, Datum key, Datum tenant);

/* The next row with that key, or NULL; good until the next call. */
extern TupleTableSlot *atlas_index_scan_next(AtlasIndexScan *scan);

extern void atlas_index_scan_end(AtlasIndexScan *scan);

#endif							/* ATLAS_INDEX_LOOKUP_H */
