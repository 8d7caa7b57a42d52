/*
 * index_lookup.c
 *		Looking an object up in an index of its table, without a query.
 *
 * A B-tree on the key is read directly if it compares keys as their type does. That
 * costs a fraction of a query, and runs nobody's code: the types and their functions
 * are those of PostgreSQL or of the library citext. The predicates and expressions of
 * indexes are never evaluated. They are only compared with "key IS NOT NULL", the one
 * predicate with which an index still has every key.
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
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "objects/id_value.h"
#include "objects/index_lookup.h"

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
	AtlasTenantEquality tenants;	/* unless the index compares the tenant */
	Datum		tenant_value;
};

/* Is this column of the index the column of the key, and compared as its type does? */
static bool
is_on_column(Relation relation, Relation index, int position, const AtlasKeyColumn *column)
{
	Oid			opclass = GetDefaultOpClass(atlas_id_operator_type(column->type), BTREE_AM_OID);

	return index->rd_index->indkey.values[position] == column->attribute &&
		index->rd_opfamily[position] == get_opclass_family(opclass) &&
		index->rd_indcollation[position] ==
		TupleDescAttr(RelationGetDescr(relation), column->attribute - 1)->attcollation;
}

/*
 * Counts the leading columns of the index that are the key and the tenant, and notes
 * where they are.
 */
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

/*
 * Does the index have all rows that this transaction can see? One that was built lately
 * may not have the rows of older snapshots.
 */
static bool
is_complete(Relation index)
{
	return !index->rd_index->indcheckxmin ||
		TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin);
}

bool
atlas_index_is_complete(const AtlasLookupIndex *lookup)
{
	return OidIsValid(lookup->index) &&
		(!TransactionIdIsValid(lookup->complete_after) ||
		 TransactionIdPrecedes(lookup->complete_after, TransactionXmin));
}

bool
atlas_is_not_null_test(const char *predicate, AttrNumber column)
{
	NullTest   *test = stringToNode(predicate);

	return IsA(test, NullTest) && test->nulltesttype == IS_NOT_NULL && IsA(test->arg, Var) &&
		((Var *) test->arg)->varattno == column;
}

/*
 * Does the index have each row whose key is not null? Its predicate is read as the
 * catalog has it, because the relation cache would evaluate functions in it.
 */
static bool
has_all_keys(Relation index, AttrNumber key)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(INDEXRELID, index->rd_indextuple, Anum_pg_index_indpred,
										&isnull);

	return isnull || atlas_is_not_null_test(TextDatumGetCString(value), key);
}

/* How well the index serves: more is better, and 0 means that it cannot be used. */
static int
rank_index(Relation relation, Relation index, AtlasLookupIndex *lookup)
{
	int			rank;

	if (index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indisvalid ||
		!has_all_keys(index, lookup->key.attribute))
		return 0;
	find_keys(relation, index, lookup);
	if (lookup->key_position < 0)
		return 0;
	rank = index->rd_index->indisunique &&
		lookup->nkeys == IndexRelationGetNumberOfKeyAttributes(index) ? MAX_KEYS + 1 : lookup->nkeys;

	/* An index that cannot be used yet is better than none, and worse than any other. */
	lookup->complete_after = InvalidTransactionId;
	if (is_complete(index))
		return rank + MAX_KEYS + 1;
	lookup->complete_after = HeapTupleHeaderGetXmin(index->rd_indextuple->t_data);
	return rank;
}

/* Opens all indexes of the table and keeps the one with the best rank. */
void
atlas_choose_index(Oid relid, const AtlasKeyColumn *key, const AtlasKeyColumn *tenant,
				   AtlasLookupIndex *choice)
{
	AtlasLookupIndex lookup = {0};
	Relation	relation;
	ListCell   *cell;
	int			best_rank = 0;

	memset(choice, 0, sizeof(*choice));
	if (!AttributeNumberIsValid(key->attribute))
		return;
	lookup.key = *key;
	lookup.tenant = *tenant;
	relation = table_open(relid, NoLock);
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
	table_close(relation, NoLock);
}

AtlasTenantEquality
atlas_tenant_equality(Relation relation, const AtlasKeyColumn *column)
{
	AtlasTenantEquality equality = {0};

	if (!AttributeNumberIsValid(column->attribute))
		return equality;
	equality.attribute = column->attribute;
	equality.equals = &lookup_type_cache(atlas_id_operator_type(column->type),
										 TYPECACHE_EQ_OPR_FINFO)->eq_opr_finfo;
	equality.collation = TupleDescAttr(RelationGetDescr(relation), column->attribute - 1)->attcollation;
	return equality;
}

bool
atlas_has_tenant(const AtlasTenantEquality *equality, TupleTableSlot *slot, Datum tenant)
{
	bool		isnull;
	Datum		value;

	if (equality->equals == NULL)
		return true;
	value = slot_getattr(slot, equality->attribute, &isnull);
	return !isnull && DatumGetBool(FunctionCall2Coll(equality->equals, equality->collation,
													 value, tenant));
}

/* Prepares the comparison of one column of the index, whose value is set later. */
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
	else
		scan->tenants = atlas_tenant_equality(scan->relation, &lookup->tenant);

	/* What this transaction has written so far is seen, as a query would see it. */
	CommandCounterIncrement();
	scan->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	scan->slot = table_slot_create(scan->relation, NULL);
	scan->scan = atlas_begin_index_scan(scan->relation, scan->index, scan->snapshot, lookup->nkeys);
	return scan;
}

/* Restarts the scan, which keeps its resources from key to key. */
void
atlas_index_scan_key(AtlasIndexScan *scan, Datum key, Datum tenant)
{
	scan->keys[scan->lookup.key_position].sk_argument = key;
	if (scan->lookup.tenant_position >= 0)
		scan->keys[scan->lookup.tenant_position].sk_argument = tenant;
	scan->tenant_value = tenant;
	index_rescan(scan->scan, scan->keys, scan->lookup.nkeys, NULL, 0);
}

/* Rows of other tenants are passed over here if the index does not compare tenants. */
TupleTableSlot *
atlas_index_scan_next(AtlasIndexScan *scan)
{
	CHECK_FOR_INTERRUPTS();
	while (index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (atlas_has_tenant(&scan->tenants, scan->slot, scan->tenant_value))
			return scan->slot;
	}
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
