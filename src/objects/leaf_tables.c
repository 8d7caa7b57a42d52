/*
 * leaf_tables.c
 *		How the rows of a relation can be read without a statement.
 *
 * Rows are read directly where that runs nobody's code and finds what a query of the
 * owner would find: in ordinary tables, whose owners see all their rows; in materialized
 * views that are populated; in partitioned tables; and in tables with children. If a
 * table is partitioned by the id or the tenant, only the partitions that can have the row
 * are searched; otherwise all of them are.
 *
 * The comparison of partition bounds runs functions of the partition key, so a
 * partitioned table is read directly only if these are PostgreSQL's own.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_partitioned_table.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "objects/leaf_tables.h"

/* ----- Whether a relation can be read directly ----- */

/* Does the partition key consist of columns that PostgreSQL's own functions compare? */
static bool
has_plain_partition_key(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(PARTRELID, ObjectIdGetDatum(relation));
	Datum		value;
	bool		isnull;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = heap_attisnull(tuple, Anum_pg_partitioned_table_partexprs, NULL);
	value = SysCacheGetAttr(PARTRELID, tuple, Anum_pg_partitioned_table_partclass, &isnull);
	if (result && !isnull)
	{
		oidvector  *classes = (oidvector *) DatumGetPointer(value);

		for (int i = 0; i < classes->dim1; i++)
			if (classes->values[i] >= FirstNormalObjectId)
				result = false;
	}
	ReleaseSysCache(tuple);
	return result;
}

/* PostgreSQL 18 can compute a column when it is read: then its value is not in the row. */
static bool
is_virtual(Relation relation, const AtlasKeyColumn *column)
{
	return AttributeNumberIsValid(column->attribute) &&
		atlas_is_virtual(TupleDescAttr(RelationGetDescr(relation), column->attribute - 1));
}

/*
 * Why the rows of a relation can be read only by a statement. NULL if they can be read
 * directly.
 */
static const char *
reason_for_statement(Relation relation, const AtlasColumns *columns)
{
	const FormData_pg_class *form = relation->rd_rel;

	if (form->relkind == RELKIND_VIEW)
		return "it is a view";
	if (form->relkind == RELKIND_FOREIGN_TABLE)
		return "it is a foreign table";
	if (form->relkind == RELKIND_MATVIEW && !form->relispopulated)
		return "it is a materialized view that has not been populated";
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		return "it is temporary";
	if (form->relrowsecurity && form->relforcerowsecurity)
		return "row security is forced on its owner";
	if (form->relkind == RELKIND_PARTITIONED_TABLE && !has_plain_partition_key(RelationGetRelid(relation)))
		return "its partition key is an expression, or compared by functions that are not PostgreSQL's own";
	if (is_virtual(relation, &columns->id) || is_virtual(relation, &columns->external_id) ||
		is_virtual(relation, &columns->tenant))
		return "one of its columns is a virtual one";
	return NULL;
}

AtlasWay
atlas_direct_way(Oid relid, const AtlasColumns *columns, const char **reason)
{
	Relation	relation = table_open(relid, NoLock);
	AtlasWay	way = ATLAS_BY_LEAF;

	*reason = reason_for_statement(relation, columns);
	if (*reason != NULL)
		way = ATLAS_NO_WAY;
	else if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ||
			 relation->rd_rel->relhassubclass)
		way = ATLAS_BY_LEAVES;
	table_close(relation, NoLock);
	return way;
}

/* ----- Which leaves are searched ----- */

/* A walk from the registered table to its leaves. */
typedef struct Walk
{
	const AtlasColumnNames *names;
	bool		by_external_id;
	const AtlasWanted *wanted;	/* NULL: leaves are counted */
	List	   *leaves;
	const char *problem;
} Walk;

/* Is this column of a partition key the id or the tenant? Then its value is known. */
static bool
known_value(const Walk *walk, const char *column, Datum *value)
{
	const NameData *key = walk->by_external_id ? &walk->names->external_id : &walk->names->id;

	if (strcmp(column, NameStr(*key)) == 0)
		*value = walk->wanted ? walk->wanted->key : (Datum) 0;
	else if (strcmp(column, NameStr(walk->names->tenant)) == 0)
		*value = walk->wanted ? walk->wanted->tenant : (Datum) 0;
	else
		return false;
	return true;
}

/* Are the values of all columns of the partition key known? Then they are returned. */
static bool
known_key(const Walk *walk, Relation relation, PartitionKey key, Datum *values)
{
	for (int i = 0; i < key->partnatts; i++)
	{
		const FormData_pg_attribute *attribute =
			TupleDescAttr(RelationGetDescr(relation), key->partattrs[i] - 1);

		if (!known_value(walk, NameStr(attribute->attname), &values[i]))
			return false;
	}
	return true;
}

/* The position of the only partition that can have such a key. -1 if there is none. */
static int
partition_for_key(PartitionKey key, PartitionDesc desc, Datum *values)
{
	static bool no_nulls[PARTITION_MAX_KEYS] = {false};
	PartitionBoundInfo bounds = desc->boundinfo;
	bool		is_equal = false;
	int			index = -1;
	int			bound;

	switch (key->strategy)
	{
		case PARTITION_STRATEGY_HASH:
			return bounds->indexes[compute_partition_hash_value(key->partnatts, key->partsupfunc,
																key->partcollation, values,
																no_nulls) % bounds->nindexes];
		case PARTITION_STRATEGY_LIST:
			bound = partition_list_bsearch(key->partsupfunc, key->partcollation, bounds,
										   values[0], &is_equal);
			if (bound >= 0 && is_equal)
				index = bounds->indexes[bound];
			break;
		case PARTITION_STRATEGY_RANGE:
			bound = partition_range_datum_bsearch(key->partsupfunc, key->partcollation, bounds,
												  key->partnatts, values, &is_equal);
			index = bounds->indexes[bound + 1];
			break;
	}
	return index >= 0 ? index : bounds->default_index;
}

static int	walk_relation(Walk *walk, Oid relid);

/* Walks to the partitions. Returns in how many leaves one object is searched at the most. */
static int
walk_partitions(Walk *walk, Relation relation)
{
	PartitionKey key;
	PartitionDesc desc;
	Datum		values[PARTITION_MAX_KEYS];
	bool		is_known;
	int			count = 0;

	if (!has_plain_partition_key(RelationGetRelid(relation)))
	{
		walk->problem = "the key of one of its partitions is an expression, or compared by functions that are not PostgreSQL's own";
		return 0;
	}
	key = RelationGetPartitionKey(relation);
	desc = RelationGetPartitionDesc(relation, true);
	if (desc->nparts == 0)
		return 0;
	is_known = known_key(walk, relation, key, values);
	if (is_known && walk->wanted != NULL)
	{
		int			index = partition_for_key(key, desc, values);

		return index < 0 ? 0 : walk_relation(walk, desc->oids[index]);
	}
	for (int i = 0; i < desc->nparts; i++)
	{
		int			beneath = walk_relation(walk, desc->oids[i]);

		count = is_known ? Max(count, beneath) : count + beneath;
	}
	return count;
}

/*
 * Walks to the leaves of one relation, or notes the relation itself if it is a leaf.
 * Returns how many leaves there are.
 */
static int
walk_relation(Walk *walk, Oid relid)
{
	Relation	relation = table_open(relid, AccessShareLock);
	int			count = 1;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (RELATION_IS_OTHER_TEMP(relation))
	{
		/* It is a temporary child of another session, and a query does not see it either. */
		table_close(relation, AccessShareLock);
		return 0;
	}
	switch (relation->rd_rel->relkind)
	{
		case RELKIND_PARTITIONED_TABLE:
			count = walk_partitions(walk, relation);
			break;
		case RELKIND_RELATION:
		case RELKIND_MATVIEW:
			if (walk->wanted != NULL)
				walk->leaves = lappend_oid(walk->leaves, relid);
			break;
		default:
			walk->problem = "one of its partitions is not an ordinary table";
			break;
	}
	table_close(relation, NoLock);
	return count;
}

/* Walks to a table and all its children, because a query of the parent reads them all. */
static int
walk_children(Walk *walk, Oid relid)
{
	List	   *relations = find_all_inheritors(relid, AccessShareLock, NULL);
	ListCell   *cell;
	int			count = 0;

	foreach(cell, relations)
		count += walk_relation(walk, lfirst_oid(cell));
	return count;
}

/*
 * Walks from the registered table, which is partitioned, or a table that may have
 * children.
 */
static int
walk_all(Walk *walk, Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ?
		walk_relation(walk, relid) : walk_children(walk, relid);
}

List *
atlas_leaves_of(Oid relid, const AtlasColumnNames *names, const AtlasWanted *wanted,
				const char **problem)
{
	Walk		walk = {.names = names,.by_external_id = wanted->by_external_id,.wanted = wanted};

	(void) walk_all(&walk, relid);
	*problem = walk.problem;
	return walk.leaves;
}

int
atlas_count_leaves(Oid relid, const AtlasColumnNames *names, bool by_external_id)
{
	Walk		walk = {.names = names,.by_external_id = by_external_id};

	return walk_all(&walk, relid);
}
