/*
 * index_lookup.h
 *		Looking an object up in an index of its table, without a query.
 */
#ifndef ATLAS_INDEX_LOOKUP_H
#define ATLAS_INDEX_LOOKUP_H

#include "access/attnum.h"
#include "executor/tuptable.h"
#include "fmgr.h"
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
	Oid			index;			/* InvalidOid: there is none */
	TransactionId complete_after;	/* valid: only newer transactions find all rows in it */
	int			nkeys;			/* leading columns that are compared */
	int			key_position;	/* of the key among them */
	int			tenant_position;	/* of the tenant; -1: it is compared in the row */
	AtlasKeyColumn key;
	AtlasKeyColumn tenant;
} AtlasLookupIndex;

/*
 * Chooses the index of a table that is locked. There is none unless a B-tree begins with
 * the key, or with the tenant and the key, and compares them as their types do.
 */
extern void atlas_choose_index(Oid relation, const AtlasKeyColumn *key,
							   const AtlasKeyColumn *tenant, AtlasLookupIndex *choice);

/* Does the index have all rows that this transaction may see? False if there is no index. */
extern bool atlas_index_is_complete(const AtlasLookupIndex *lookup);

/* The equality of the tenant column, if there is one. */
typedef struct AtlasTenantEquality
{
	AttrNumber	attribute;
	FmgrInfo   *equals;			/* NULL: every row is of the tenant */
	Oid			collation;
} AtlasTenantEquality;

extern AtlasTenantEquality atlas_tenant_equality(Relation relation, const AtlasKeyColumn *column);

/* Is a row of this tenant? */
extern bool atlas_has_tenant(const AtlasTenantEquality *equality, TupleTableSlot *slot,
							 Datum tenant);

/* Is the predicate of an index, as the catalog has it, just "column IS NOT NULL"? */
extern bool atlas_is_not_null_test(const char *predicate, AttrNumber column);

/* Lookups in one index, one after the other. The table is locked. */
typedef struct AtlasIndexScan AtlasIndexScan;

extern AtlasIndexScan *atlas_index_scan_begin(Oid relation, const AtlasLookupIndex *index);

/* Looks for a key; the tenant counts if the table has a tenant column. */
extern void atlas_index_scan_key(AtlasIndexScan *scan, Datum key, Datum tenant);

/* The next row with that key, or NULL; good until the next call. */
extern TupleTableSlot *atlas_index_scan_next(AtlasIndexScan *scan);

extern void atlas_index_scan_end(AtlasIndexScan *scan);

#endif							/* ATLAS_INDEX_LOOKUP_H */
