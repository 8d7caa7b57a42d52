/*
 * index_reader.c
 *		Reading the rows of one of our tables by an index, without a statement.
 *
 * A table, or a partition, and one of its B-trees are opened, and only these two are
 * locked: the other indexes are judged by their rows in the catalog. The rows are those
 * that the snapshot of the caller's statement sees. The locks are held until the end of
 * the transaction, as those of a statement are.
 *
 * Nobody's code runs. An index that has an expression or a predicate is not used, and
 * neither is evaluated; keys are compared with the functions of PostgreSQL's own types.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "read/index_reader.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/extension.h"
#include "base/invalidation.h"

#define MAX_INDEX_KEYS (ATLAS_MAX_EQUAL_COLUMNS + 1)

/* An index whose leading columns are keys of the shape. */
typedef struct KeyIndex
{
	Oid			oid;			/* InvalidOid: none has been found so far */
	int			nkeys;
	int			keys[MAX_INDEX_KEYS];	/* which of the keys of the shape */
	Oid			collations[MAX_INDEX_KEYS];
} KeyIndex;

/* How a table is read, which is found out once. */
typedef struct ReadPlan
{
	Oid			relid;			/* hash key, with the next two */
	bool		is_ordered;
	const AtlasReadShape *shape;
	uint64		changes;		/* of relations, when it was found out */
	AttrNumber	attributes[ATLAS_MAX_READ_COLUMNS];
	KeyIndex	by;				/* the index */
} ReadPlan;

struct AtlasIndexReader
{
	const AtlasReadShape *shape;
	Relation	relation;
	Relation	index;			/* NULL: the table is empty */
	Snapshot	snapshot;
	TupleTableSlot *slot;
	IndexScanDesc scan;
	AttrNumber	attributes[ATLAS_MAX_READ_COLUMNS];
	KeyIndex	by;				/* the index */
	Datum		values[ATLAS_MAX_EQUAL_COLUMNS];
	bool		is_in_index[ATLAS_MAX_EQUAL_COLUMNS];
	pg_uuid_t	low;
	pg_uuid_t	high;
	ScanDirection direction;
};

/* Of ReadPlan. A plan holds until any relation changes. */
static HTAB *read_plans = NULL;
static uint64 relation_changes = 0;

/* Called by the relation cache. */
static void
count_relation_change(Oid relid)
{
	relation_changes++;
}

void
atlas_index_reader_init(void)
{
	atlas_listen_to_relations(count_relation_change);
}

Relation
atlas_open_for_reading(AtlasTableId table)
{
	Oid			relid = InvalidOid;

	while (relid != atlas_relation(table))
	{
		relid = atlas_relation(table);
		LockRelationOid(relid, AccessShareLock);
	}
	return table_open(relid, NoLock);
}

/* Finds a column by its name. Returns 0 if there is none, or if its values are not in the row. */
static AttrNumber
find_attribute(TupleDesc tupdesc, const AtlasTableColumn *column)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		const FormData_pg_attribute *attribute = TupleDescAttr(tupdesc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), column->name) == 0)
			return attribute->atttypid == column->type && !atlas_is_virtual(attribute) ?
				attribute->attnum : InvalidAttrNumber;
	}
	return InvalidAttrNumber;
}

/* Finds the columns, which may be in another order in a table that was attached. */
static bool
find_attributes(AtlasIndexReader *reader)
{
	for (int i = 0; i < reader->shape->ncolumns; i++)
	{
		reader->attributes[i] = find_attribute(RelationGetDescr(reader->relation),
											   &reader->shape->columns[i]);
		if (!AttributeNumberIsValid(reader->attributes[i]))
			return false;
	}
	return true;
}

/* Which key of the shape is this column of the table? -1 if it is none. */
static int
key_of_attribute(const AtlasIndexReader *reader, AttrNumber attribute)
{
	for (int i = 0; i <= reader->shape->nequal; i++)
		if (reader->attributes[reader->shape->keys[i]] == attribute)
			return i;
	return -1;
}

bool
atlas_index_is_plain(HeapTuple tuple)
{
	const FormData_pg_index *form = (const FormData_pg_index *) GETSTRUCT(tuple);

	return form->indisvalid &&
		heap_attisnull(tuple, Anum_pg_index_indexprs, NULL) &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL) &&
		(!form->indcheckxmin ||
		 TransactionIdPrecedes(HeapTupleHeaderGetXmin(tuple->t_data), TransactionXmin));
}

/* A column of pg_index that is a vector of OIDs, one for each key of the index. */
static const Oid *
oids_of_index(HeapTuple tuple, AttrNumber attribute)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(INDEXRELID, tuple, attribute, &isnull);

	return ((const oidvector *) DatumGetPointer(value))->values;
}

static Oid
type_of_key(const AtlasReadShape *shape, int key)
{
	return shape->columns[shape->keys[key]].type;
}

static bool
is_number(const AtlasReadShape *shape, int key)
{
	return type_of_key(shape, key) == INT8OID;
}

/* The operators by which a B-tree compares a key. */
static Oid
btree_family_of(const AtlasReadShape *shape, int key)
{
	return lookup_type_cache(type_of_key(shape, key), TYPECACHE_BTREE_OPFAMILY)->btree_opf;
}

/*
 * Notes the leading columns of the index that are keys, each compared as its type does:
 * an operator family belongs to one kind of index, so this one is a B-tree.
 */
static void
match_columns(const AtlasIndexReader *reader, HeapTuple tuple, KeyIndex *index)
{
	const FormData_pg_index *form = (const FormData_pg_index *) GETSTRUCT(tuple);
	const Oid  *classes = oids_of_index(tuple, Anum_pg_index_indclass);
	const Oid  *collations = oids_of_index(tuple, Anum_pg_index_indcollation);
	TupleDesc	tupdesc = RelationGetDescr(reader->relation);

	index->oid = form->indexrelid;
	for (index->nkeys = 0; index->nkeys < Min(form->indnkeyatts, MAX_INDEX_KEYS); index->nkeys++)
	{
		int			position = index->nkeys;
		AttrNumber	attribute = form->indkey.values[position];
		int			key = key_of_attribute(reader, attribute);

		if (key < 0 ||
			get_opclass_family(classes[position]) !=
			btree_family_of(reader->shape, key) ||
			collations[position] != TupleDescAttr(tupdesc, attribute - 1)->attcollation)
			return;
		index->keys[position] = key;
		index->collations[position] = collations[position];
	}
}

/* Are rows found in the index by their event id, and if need be in the order of the ids? */
static bool
serves(const KeyIndex *index, int nequal, bool is_ordered)
{
	if (is_ordered)
		return index->nkeys == nequal + 1 && index->keys[nequal] == nequal;
	for (int i = 0; i < index->nkeys; i++)
		if (index->keys[i] == nequal)
			return true;
	return false;
}

/* Chooses the index that compares the most keys. */
static bool
choose_key_index(AtlasIndexReader *reader, bool is_ordered)
{
	List	   *indexes = RelationGetIndexList(reader->relation);
	ListCell   *cell;

	reader->by.oid = InvalidOid;
	reader->by.nkeys = 0;
	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		KeyIndex	index;

		if (!HeapTupleIsValid(tuple))
			continue;
		if (atlas_index_is_plain(tuple))
		{
			match_columns(reader, tuple, &index);
			if (serves(&index, reader->shape->nequal, is_ordered) && index.nkeys > reader->by.nkeys)
				reader->by = index;
		}
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return OidIsValid(reader->by.oid);
}

/* The plan for a table; what it says may be out of date. */
static ReadPlan *
find_read_plan(Oid relid, const AtlasReadShape *shape, bool is_ordered)
{
	ReadPlan	key;
	ReadPlan   *plan;
	bool		is_known;

	if (read_plans == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = offsetof(ReadPlan, changes);
		control.entrysize = sizeof(ReadPlan);
		control.hcxt = TopMemoryContext;
		read_plans = hash_create("atlas_events read plans", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	memset(&key, 0, sizeof(key));
	key.relid = relid;
	key.is_ordered = is_ordered;
	key.shape = shape;
	plan = hash_search(read_plans, &key, HASH_ENTER, &is_known);
	if (!is_known)
		plan->changes = PG_UINT64_MAX;
	return plan;
}

/*
 * Finds the columns and an index. The relation is locked, so that what was found out of it holds
 * unless an invalidation has come. Returns false if it cannot be read by an index.
 */
static bool
plan_reading(AtlasIndexReader *reader, bool is_ordered)
{
	ReadPlan   *plan = find_read_plan(RelationGetRelid(reader->relation), reader->shape, is_ordered);
	uint64		changes = relation_changes;

	if (plan->changes != changes)
	{
		if (reader->relation->rd_rel->relkind != RELKIND_RELATION || !find_attributes(reader) ||
			!choose_key_index(reader, is_ordered))
			return false;
		memcpy(plan->attributes, reader->attributes, sizeof(plan->attributes));
		plan->by = reader->by;
		plan->changes = changes;
	}
	memcpy(reader->attributes, plan->attributes, sizeof(plan->attributes));
	reader->by = plan->by;
	return true;
}

/*
 * Is there no row at all, as in partitions of coming months? Then no index is read. Rows
 * that come meanwhile are not visible to the snapshot, but matter to serializable transactions.
 */
static bool
is_empty_table(AtlasIndexReader *reader)
{
	if (RelationGetNumberOfBlocks(reader->relation) > 0)
		return false;
	PredicateLockRelation(reader->relation, reader->snapshot);
	/* Who has made room for a row since may have looked for the lock before it was there. */
	return RelationGetNumberOfBlocks(reader->relation) == 0;
}

AtlasIndexReader *
atlas_index_reader_open(Oid relid, const AtlasReadShape *shape, bool is_ordered, Snapshot snapshot)
{
	AtlasIndexReader *reader = palloc0(sizeof(AtlasIndexReader));

	reader->shape = shape;
	reader->relation = table_open(relid, AccessShareLock);
	if (!plan_reading(reader, is_ordered))
	{
		table_close(reader->relation, NoLock);
		pfree(reader);
		return NULL;
	}
	reader->snapshot = RegisterSnapshot(snapshot);
	if (is_empty_table(reader))
		return reader;
	for (int i = 0; i < reader->by.nkeys; i++)
		if (reader->by.keys[i] < shape->nequal)
			reader->is_in_index[reader->by.keys[i]] = true;
	reader->index = index_open(reader->by.oid, AccessShareLock);
	reader->slot = table_slot_create(reader->relation, NULL);
	return reader;
}

/* Begins the scan, or begins it again, with bounds of the event id: one, or two of them. */
static void
rescan(AtlasIndexReader *reader, const Datum *values, bool is_range)
{
	ScanKeyData keys[MAX_INDEX_KEYS + 1];
	int			nkeys = 0;

	if (reader->index == NULL)
		return;
	memcpy(reader->values, values, sizeof(Datum) * reader->shape->nequal);
	for (int i = 0; i < reader->by.nkeys; i++)
	{
		int			key = reader->by.keys[i];
		Oid			collation = reader->by.collations[i];

		if (key < reader->shape->nequal)
			ScanKeyEntryInitialize(&keys[nkeys++], 0, i + 1, BTEqualStrategyNumber,
								   type_of_key(reader->shape, key), collation,
								   is_number(reader->shape, key) ? F_INT8EQ : F_TEXTEQ, reader->values[key]);
		else if (!is_range)
			ScanKeyEntryInitialize(&keys[nkeys++], 0, i + 1, BTEqualStrategyNumber, UUIDOID,
								   collation, F_UUID_EQ, UUIDPGetDatum(&reader->low));
		else
		{
			ScanKeyEntryInitialize(&keys[nkeys++], 0, i + 1, BTGreaterEqualStrategyNumber, UUIDOID,
								   collation, F_UUID_GE, UUIDPGetDatum(&reader->low));
			ScanKeyEntryInitialize(&keys[nkeys++], 0, i + 1, BTLessStrategyNumber, UUIDOID,
								   collation, F_UUID_LT, UUIDPGetDatum(&reader->high));
		}
	}
	if (reader->scan == NULL)
		reader->scan = atlas_begin_index_scan(reader->relation, reader->index, reader->snapshot, nkeys);
	index_rescan(reader->scan, keys, nkeys, NULL, 0);
}

void
atlas_index_reader_seek(AtlasIndexReader *reader, const Datum *values,
						const pg_uuid_t *low, const pg_uuid_t *high)
{
	reader->low = *low;
	reader->high = *high;
	reader->direction = BackwardScanDirection;
	rescan(reader, values, true);
}

void
atlas_index_reader_seek_forward(AtlasIndexReader *reader, const Datum *values,
								const pg_uuid_t *low, const pg_uuid_t *high)
{
	atlas_index_reader_seek(reader, values, low, high);
	reader->direction = ForwardScanDirection;
}

void
atlas_index_reader_seek_id(AtlasIndexReader *reader, const Datum *values, const pg_uuid_t *id)
{
	reader->low = *id;
	reader->direction = BackwardScanDirection;
	rescan(reader, values, false);
}

/* Does the row have the values that the index does not compare? */
static bool
has_values(AtlasIndexReader *reader)
{
	for (int i = 0; i < reader->shape->nequal; i++)
	{
		bool		isnull;
		Datum		value;

		if (reader->is_in_index[i])
			continue;
		value = slot_getattr(reader->slot, reader->attributes[reader->shape->keys[i]], &isnull);
		if (isnull || (is_number(reader->shape, i) ? DatumGetInt64(value) != DatumGetInt64(reader->values[i]) :
					   !DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, value, reader->values[i]))))
			return false;
	}
	return true;
}

bool
atlas_index_reader_next(AtlasIndexReader *reader)
{
	while (reader->index != NULL &&
		   index_getnext_slot(reader->scan, reader->direction, reader->slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (has_values(reader))
			return true;
	}
	return false;
}

Datum
atlas_index_reader_value(AtlasIndexReader *reader, int column, bool *isnull)
{
	return slot_getattr(reader->slot, reader->attributes[column], isnull);
}

/* Has the index an entry whose first column compares so with a value? */
static bool
has_entry(AtlasIndexReader *reader, StrategyNumber strategy, RegProcedure compare, Datum value)
{
	IndexScanDesc scan = atlas_begin_index_scan(reader->relation, reader->index, reader->snapshot, 1);
	ScanKeyData key;
	bool		result;

	ScanKeyEntryInitialize(&key, 0, 1, strategy, TEXTOID, reader->by.collations[0], compare, value);
	index_rescan(scan, &key, 1, NULL, 0);
	result = index_getnext_tid(scan, ForwardScanDirection) != NULL;
	index_endscan(scan);
	return result;
}

bool
atlas_index_reader_has_others(AtlasIndexReader *reader, const Datum *values)
{
	if (reader->index == NULL)
		return false;
	return reader->by.keys[0] != 0 ||
		has_entry(reader, BTLessStrategyNumber, F_TEXT_LT, values[0]) ||
		has_entry(reader, BTGreaterStrategyNumber, F_TEXT_GT, values[0]);
}

Relation
atlas_index_reader_relation(const AtlasIndexReader *reader)
{
	return reader->relation;
}

AttrNumber
atlas_index_reader_attribute(const AtlasIndexReader *reader, int column)
{
	return reader->attributes[column];
}

void
atlas_index_reader_close(AtlasIndexReader *reader)
{
	if (reader->scan != NULL)
		index_endscan(reader->scan);
	if (reader->index != NULL)
	{
		ExecDropSingleTupleTableSlot(reader->slot);
		index_close(reader->index, NoLock);
	}
	UnregisterSnapshot(reader->snapshot);
	table_close(reader->relation, NoLock);
	pfree(reader);
}
