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
#include "access/relation.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "compat.h"
#include "executor/executor.h"
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
	Relation	relation;
	Relation	index;
	Snapshot	snapshot;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	ScanKeyData keys[MAX_KEYS];
	int			nkeys;
	int			key_position;	/* of the key among those */
	int			tenant_position;	/* -1: the tenant is not in the index */
	AtlasKeyColumn tenant;
	FmgrInfo   *tenant_equals;
	Oid			tenant_collation;
	Datum		tenant_value;
};

/* Does a query of the owner give exactly the rows that are in the table? */
static bool
is_just_a_table(Relation relation)
{
	const FormData_pg_class *form = relation->rd_rel;

	return form->relkind == RELKIND_RELATION && !form->relhassubclass && !form->relrowsecurity &&
		form->relpersistence != RELPERSISTENCE_TEMP &&
		pg_class_aclcheck(RelationGetRelid(relation), form->relowner, ACL_SELECT) == ACLCHECK_OK;
}

/* varchar is compared as text. */
static Oid
operator_type(Oid base_type)
{
	return base_type == VARCHAROID ? TEXTOID : base_type;
}

/* Is this column of the index the one of the key, with the equality of its type? */
static bool
is_on_column(Relation relation, Relation index, int position, const AtlasKeyColumn *column)
{
	Oid			opclass = GetDefaultOpClass(operator_type(column->type), BTREE_AM_OID);

	return index->rd_index->indkey.values[position] == column->attribute &&
		index->rd_opfamily[position] == get_opclass_family(opclass) &&
		index->rd_indcollation[position] ==
		TupleDescAttr(RelationGetDescr(relation), column->attribute - 1)->attcollation;
}

/*
 * Which of the leading columns of the index are the key and the tenant; -1 when it
 * is not among them. Returns how many these are.
 */
static int
leading_columns(Relation relation, Relation index, const AtlasKeyColumn *key,
				const AtlasKeyColumn *tenant, int *key_position, int *tenant_position)
{
	int			position;

	*key_position = *tenant_position = -1;
	for (position = 0; position < IndexRelationGetNumberOfKeyAttributes(index); position++)
	{
		if (*key_position < 0 && is_on_column(relation, index, position, key))
			*key_position = position;
		else if (*tenant_position < 0 && AttributeNumberIsValid(tenant->attribute) &&
				 is_on_column(relation, index, position, tenant))
			*tenant_position = position;
		else
			break;
	}
	return position;
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
rank_index(Relation relation, Relation index, const AtlasKeyColumn *key,
		   const AtlasKeyColumn *tenant)
{
	int			key_position;
	int			tenant_position;
	int			nleading;

	if (index->rd_rel->relam != BTREE_AM_OID || !is_complete(index) ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return 0;
	nleading = leading_columns(relation, index, key, tenant, &key_position, &tenant_position);
	if (key_position < 0)
		return 0;
	return index->rd_index->indisunique &&
		nleading == IndexRelationGetNumberOfKeyAttributes(index) ? MAX_KEYS + 1 : nleading;
}

Oid
atlas_lookup_index(Oid relid, const AtlasKeyColumn *key, const AtlasKeyColumn *tenant)
{
	Relation	relation;
	ListCell   *cell;
	Oid			best = InvalidOid;
	int			best_rank = 0;

	if (!AttributeNumberIsValid(key->attribute))
		return InvalidOid;
	relation = relation_open(relid, NoLock);
	if (is_just_a_table(relation))
	{
		foreach(cell, RelationGetIndexList(relation))
		{
			Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
			int			rank = rank_index(relation, index, key, tenant);

			if (rank > best_rank)
			{
				best = RelationGetRelid(index);
				best_rank = rank;
			}
			index_close(index, NoLock);
		}
	}
	relation_close(relation, NoLock);
	return best;
}

static void
init_key(AtlasIndexScan *scan, int position, const AtlasKeyColumn *column)
{
	Oid			type = operator_type(column->type);
	Oid			equals = get_opfamily_member(scan->index->rd_opfamily[position], type, type,
											 BTEqualStrategyNumber);

	ScanKeyEntryInitialize(&scan->keys[position], 0, position + 1, BTEqualStrategyNumber, type,
						   scan->index->rd_indcollation[position], get_opcode(equals), (Datum) 0);
}

AtlasIndexScan *
atlas_index_scan_begin(Oid relation, Oid index, const AtlasKeyColumn *key,
					   const AtlasKeyColumn *tenant)
{
	AtlasIndexScan *scan = palloc0(sizeof(AtlasIndexScan));

	scan->relation = table_open(relation, NoLock);
	scan->index = index_open(index, AccessShareLock);
	scan->nkeys = leading_columns(scan->relation, scan->index, key, tenant,
								  &scan->key_position, &scan->tenant_position);
	init_key(scan, scan->key_position, key);
	scan->tenant = *tenant;
	if (scan->tenant_position >= 0)
		init_key(scan, scan->tenant_position, tenant);
	else if (AttributeNumberIsValid(tenant->attribute))
	{
		scan->tenant_equals = &lookup_type_cache(operator_type(tenant->type),
												 TYPECACHE_EQ_OPR_FINFO)->eq_opr_finfo;
		scan->tenant_collation =
			TupleDescAttr(RelationGetDescr(scan->relation), tenant->attribute - 1)->attcollation;
	}

	/* As a query would: what this transaction has written is seen. */
	CommandCounterIncrement();
	scan->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	scan->slot = table_slot_create(scan->relation, NULL);
	scan->scan = atlas_begin_index_scan(scan->relation, scan->index, scan->snapshot, scan->nkeys);
	return scan;
}

void
atlas_index_scan_key(AtlasIndexScan *scan, Datum key, Datum tenant)
{
	scan->keys[scan->key_position].sk_argument = key;
	if (scan->tenant_position >= 0)
		scan->keys[scan->tenant_position].sk_argument = tenant;
	scan->tenant_value = tenant;
	index_rescan(scan->scan, scan->keys, scan->nkeys, NULL, 0);
}

/* Is the row of the tenant, if the index did not look at that? */
static bool
is_of_tenant(AtlasIndexScan *scan)
{
	bool		isnull;
	Datum		value;

	if (scan->tenant_equals == NULL)
		return true;
	value = slot_getattr(scan->slot, scan->tenant.attribute, &isnull);
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
