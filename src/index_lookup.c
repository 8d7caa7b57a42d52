/*
 * index_lookup.c
 *		Looking an object up in an index of its table, without a query.
 *
 * A query that finds one row by its key costs several times what looking into the
 * index does. So where a table is just a table, whose owner sees all of it, and has
 * a B-tree on the key whose idea of equality is the type's own, the index is read
 * directly. No code of the owner can run then: the types are PostgreSQL's own.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "compat.h"
#include "executor/executor.h"
#include "id_value.h"
#include "index_lookup.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#define MAX_KEYS 2				/* the key and the tenant */

struct AtlasIndexScan
{
	AtlasLookupIndex lookup;
	Relation	relation;
	Relation	index;
	Snapshot	snapshot;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	ScanKeyData keys[MAX_KEYS];
	FmgrInfo   *tenant_equals;	/* NULL: the index compares it, or there is none */
	Oid			tenant_collation;
	Datum		tenant_value;
};

bool
atlas_may_read(Oid relation, Oid owner)
{
	return pg_class_aclcheck(relation, owner, ACL_SELECT) == ACLCHECK_OK &&
		atlas_may_use_schema(get_rel_namespace(relation), owner);
}

/* Does a query of the owner, who may read it, give exactly the rows that are in the table? */
static bool
is_just_a_table(Relation relation)
{
	const FormData_pg_class *form = relation->rd_rel;

	return form->relkind == RELKIND_RELATION && !form->relhassubclass && !form->relrowsecurity &&
		form->relpersistence != RELPERSISTENCE_TEMP &&
		!atlas_has_virtual_columns(RelationGetDescr(relation));
}

/* Is this column of the index the one of the key, with the equality of its type? */
static bool
is_on_column(Relation relation, Relation index, int position, const AtlasKeyColumn *column)
{
	Oid			opclass = GetDefaultOpClass(atlas_id_operator_type(column->type), BTREE_AM_OID);

	return index->rd_index->indkey.values[position] == column->attribute &&
		index->rd_opfamily[position] == get_opclass_family(opclass) &&
		index->rd_indcollation[position] ==
		TupleDescAttr(RelationGetDescr(relation), column->attribute - 1)->attcollation;
}

/* How many leading columns of the index are the key and the tenant, and where they are. */
static void
find_keys(Relation relation, Relation index, AtlasLookupIndex *lookup)
{
	lookup->index = RelationGetRelid(index);
	lookup->key_position = lookup->tenant_position = -1;
	for (lookup->nkeys = 0; lookup->nkeys < IndexRelationGetNumberOfKeyAttributes(index); lookup->nkeys++)
	{
		if (lookup->key_position < 0 && is_on_column(relation, index, lookup->nkeys, &lookup->key))
			lookup->key_position = lookup->nkeys;
		else if (lookup->tenant_position < 0 && AttributeNumberIsValid(lookup->tenant.attribute) &&
				 is_on_column(relation, index, lookup->nkeys, &lookup->tenant))
			lookup->tenant_position = lookup->nkeys;
		else
			break;
	}
}

/* Rows of older snapshots may be missing from an index that was built lately. */
static bool
is_complete(Relation index)
{
	return index->rd_index->indisvalid &&
		(!index->rd_index->indcheckxmin ||
		 TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin));
}

/* The better it is, the more; 0: it does not do. */
static int
rank_index(Relation relation, Relation index, AtlasLookupIndex *lookup)
{
	if (index->rd_rel->relam != BTREE_AM_OID || !is_complete(index) ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return 0;
	find_keys(relation, index, lookup);
	if (lookup->key_position < 0)
		return 0;
	return index->rd_index->indisunique &&
		lookup->nkeys == IndexRelationGetNumberOfKeyAttributes(index) ? MAX_KEYS + 1 : lookup->nkeys;
}

void
atlas_choose_index(Oid relid, const AtlasKeyColumn *key, const AtlasKeyColumn *tenant,
				   AtlasLookupIndex *choice)
{
	AtlasLookupIndex lookup = *choice;
	Relation	relation;
	ListCell   *cell;
	int			best_rank = 0;

	if (!AttributeNumberIsValid(key->attribute))
		return;
	lookup.key = *key;
	lookup.tenant = *tenant;
	relation = table_open(relid, NoLock);
	if (is_just_a_table(relation))
	{
		foreach(cell, RelationGetIndexList(relation))
		{
			Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
			int			rank = rank_index(relation, index, &lookup);

			if (rank > best_rank)
			{
				*choice = lookup;
				best_rank = rank;
			}
			index_close(index, NoLock);
		}
	}
	table_close(relation, NoLock);
}

static void
init_key(AtlasIndexScan *scan, int position, const AtlasKeyColumn *column)
{
	Oid			type = atlas_id_operator_type(column->type);
	Oid			equals = get_opfamily_member(scan->index->rd_opfamily[position], type, type,
											 BTEqualStrategyNumber);

	ScanKeyEntryInitialize(&scan->keys[position], 0, position + 1, BTEqualStrategyNumber, type,
						   scan->index->rd_indcollation[position], get_opcode(equals), (Datum) 0);
}

AtlasIndexScan *
atlas_index_scan_begin(Oid relation, const AtlasLookupIndex *lookup)
{
	AtlasIndexScan *scan = palloc0(sizeof(AtlasIndexScan));

	scan->lookup = *lookup;
	scan->relation = table_open(relation, NoLock);
	scan->index = index_open(lookup->index, AccessShareLock);
	init_key(scan, lookup->key_position, &lookup->key);
	if (lookup->tenant_position >= 0)
		init_key(scan, lookup->tenant_position, &lookup->tenant);
	else if (AttributeNumberIsValid(lookup->tenant.attribute))
	{
		scan->tenant_equals = &lookup_type_cache(atlas_id_operator_type(lookup->tenant.type),
												 TYPECACHE_EQ_OPR_FINFO)->eq_opr_finfo;
		scan->tenant_collation = TupleDescAttr(RelationGetDescr(scan->relation),
											   lookup->tenant.attribute - 1)->attcollation;
	}

	/* As a query would: what this transaction has written is seen. */
	CommandCounterIncrement();
	scan->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	scan->slot = table_slot_create(scan->relation, NULL);
	scan->scan = atlas_begin_index_scan(scan->relation, scan->index, scan->snapshot, lookup->nkeys);
	return scan;
}

void
atlas_index_scan_key(AtlasIndexScan *scan, Datum key, Datum tenant)
{
	scan->keys[scan->lookup.key_position].sk_argument = key;
	if (scan->lookup.tenant_position >= 0)
		scan->keys[scan->lookup.tenant_position].sk_argument = tenant;
	scan->tenant_value = tenant;
	index_rescan(scan->scan, scan->keys, scan->lookup.nkeys, NULL, 0);
}

/* Is the row of the tenant, if the index did not look at that? */
static bool
is_of_tenant(AtlasIndexScan *scan)
{
	bool		isnull;
	Datum		value;

	if (scan->tenant_equals == NULL)
		return true;
	value = slot_getattr(scan->slot, scan->lookup.tenant.attribute, &isnull);
	return !isnull && DatumGetBool(FunctionCall2Coll(scan->tenant_equals, scan->tenant_collation,
													 value, scan->tenant_value));
}

TupleTableSlot *
atlas_index_scan_next(AtlasIndexScan *scan)
{
	CHECK_FOR_INTERRUPTS();
	while (index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot))
		if (is_of_tenant(scan))
			return scan->slot;
	return NULL;
}

void
atlas_index_scan_end(AtlasIndexScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	UnregisterSnapshot(scan->snapshot);
	index_close(scan->index, NoLock);
	table_close(scan->relation, NoLock);
	pfree(scan);
}
