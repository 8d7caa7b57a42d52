/*
 * table_write.c
 *		Adding rows to the log, the queue and the links.
 *
 * Rows are formed and put into the table and its indexes as COPY does it, without
 * an INSERT that is planned and run: that costs as much again as the writing
 * itself. Where an INSERT would do more than that (there are triggers, rules,
 * forced row security, columns that are not ours), or would be refused, there is
 * an INSERT.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "table_write.h"
#include "utils/acl.h"
#include "utils/rel.h"

#define GROUP_SIZE 100			/* rows that are put into a table at once */

/* A table without partitions of its own, and which of the rows go there. */
typedef struct Part
{
	Relation	relation;
	int			from;
	int			to;
} Part;

void
atlas_rows_init(AtlasRows *rows, AtlasTable *table, int size)
{
	Datum	   *values = palloc((sizeof(Datum) + sizeof(bool)) * Max(size, 1) * table->ncolumns);
	bool	   *nulls = (bool *) (values + (Size) Max(size, 1) * table->ncolumns);

	rows->table = table;
	for (int i = 0; i < table->ncolumns; i++)
	{
		rows->columns[i].values = values + (Size) size * i;
		rows->columns[i].nulls = nulls + (Size) size * i;
		rows->columns[i].nvalues = 0;
	}
}

void
atlas_rows_add(AtlasRows *rows, const Datum *values, const bool *nulls)
{
	for (int i = 0; i < rows->table->ncolumns; i++)
	{
		if (nulls[i])
			atlas_column_add_null(&rows->columns[i]);
		else
			atlas_column_add(&rows->columns[i], values[i]);
	}
}

static Oid
table_relid(const AtlasTable *table)
{
	return *(const Oid *) ((const char *) atlas_extension() + table->relation);
}

/* Opens it; while its lock was waited for, the extension may have been made anew. */
static Relation
open_table(const AtlasTable *table)
{
	Oid			relid = InvalidOid;

	while (relid != table_relid(table))
	{
		relid = table_relid(table);
		LockRelationOid(relid, RowExclusiveLock);
	}
	return table_open(relid, NoLock);
}

/* Would an INSERT do no more than to write the row? */
static bool
is_plain(Relation relation)
{
	const FormData_pg_class *form = relation->rd_rel;

	return relation->trigdesc == NULL && !form->relhasrules && !form->relforcerowsecurity &&
		form->relowner == GetUserId() &&
		pg_class_aclcheck(RelationGetRelid(relation), GetUserId(), ACL_INSERT) == ACLCHECK_OK;
}

/* Are its columns the ones that are written, in the same order, and no others? */
static bool
has_our_columns(Relation relation, const AtlasTable *table)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);

	if (relation->rd_rel->relkind != RELKIND_RELATION || tupdesc->natts != table->ncolumns ||
		(tupdesc->constr != NULL && tupdesc->constr->has_generated_stored))
		return false;
	for (int i = 0; i < tupdesc->natts; i++)
	{
		const FormData_pg_attribute *attribute = TupleDescAttr(tupdesc, i);

		if (attribute->attisdropped || attribute->atttypid != table->types[i] ||
			strcmp(NameStr(attribute->attname), table->columns[i]) != 0)
			return false;
	}
	return true;
}

/* The part that begins with a row; relation is NULL when there is no partition. */
static Part
open_part(const AtlasRows *rows, Relation root, int from)
{
	Part		part = {.from = from,.to = rows->columns[0].nvalues};
	Oid			partition;

	if (rows->table->partitions == ATLAS_NOT_PARTITIONED)
	{
		part.relation = root;
		return part;
	}
	partition = atlas_partition_of(rows->table->partitions, rows->columns[0].values, from, &part.to);
	if (OidIsValid(partition))
		part.relation = table_open(partition, RowExclusiveLock);
	return part;
}

static void
close_parts(Relation root, const List *parts)
{
	ListCell   *cell;

	foreach(cell, parts)
	{
		const Part *part = lfirst(cell);

		if (part->relation != root)
			table_close(part->relation, NoLock);
	}
	table_close(root, NoLock);
}

static void
fill_slot(TupleTableSlot *slot, const AtlasRows *rows, int row)
{
	ExecClearTuple(slot);
	for (int i = 0; i < rows->table->ncolumns; i++)
	{
		slot->tts_values[i] = rows->columns[i].values[row];
		slot->tts_isnull[i] = rows->columns[i].nulls[row];
	}
	ExecStoreVirtualTuple(slot);
}

/* Puts rows that fit into the slots into the table, and then into its indexes. */
static void
write_group(EState *estate, ResultRelInfo *result, TupleTableSlot **slots, int nslots,
			CommandId command)
{
	Relation	relation = result->ri_RelationDesc;
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));

	if (relation->rd_att->constr != NULL)
		for (int i = 0; i < nslots; i++)
			ExecConstraints(result, slots[i], estate);
	if (nslots == 1)
		table_tuple_insert(relation, slots[0], command, 0, NULL);
	else
		table_multi_insert(relation, slots, nslots, command, 0, NULL);
	for (int i = 0; i < nslots; i++)
		(void) atlas_insert_index_tuples(result, slots[i], estate);
	MemoryContextSwitchTo(old);
	ResetPerTupleExprContext(estate);
}

/* Does an index compute something, or are values compared by functions not PostgreSQL's own? */
static bool
index_runs_code(Relation index, const IndexInfo *info)
{
	int			nsupport = info->ii_NumIndexKeyAttrs * index->rd_indam->amsupport;

	for (int i = 0; i < nsupport; i++)
		if (index->rd_support[i] >= FirstNormalObjectId)
			return true;
	return info->ii_Expressions != NIL || info->ii_Predicate != NIL;
}

/* Does writing run code that is not ours? The caller's search_path is none for it. */
static bool
runs_code(const ResultRelInfo *result)
{
	const TupleConstr *constraints = result->ri_RelationDesc->rd_att->constr;

	for (int i = 0; i < result->ri_NumIndices; i++)
		if (index_runs_code(result->ri_IndexRelationDescs[i], result->ri_IndexRelationInfo[i]))
			return true;
	return constraints != NULL && constraints->num_check > 0;
}

static void
write_part(const AtlasRows *rows, const Part *part, CommandId command)
{
	EState	   *estate = CreateExecutorState();
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleTableSlot *slots[GROUP_SIZE];
	int			nslots = Min(part->to - part->from, GROUP_SIZE);
	int			guc_level;

	InitResultRelInfo(result, part->relation, 0, NULL, 0);
	ExecOpenIndices(result, false);
	guc_level = runs_code(result) ? atlas_restrict_search_path() : 0;
	for (int i = 0; i < nslots; i++)
	{
		slots[i] = table_slot_create(part->relation, &estate->es_tupleTable);
		slots[i]->tts_tableOid = RelationGetRelid(part->relation);	/* for constraints */
	}
	for (int from = part->from; from < part->to; from += nslots)
	{
		nslots = Min(part->to - from, nslots);
		for (int i = 0; i < nslots; i++)
			fill_slot(slots[i], rows, from + i);
		write_group(estate, result, slots, nslots, command);
	}
	atlas_restore_search_path(guc_level);
	ExecCloseIndices(result);
	ExecResetTupleTable(estate->es_tupleTable, false);
	MemoryContextSwitchTo(old);
	FreeExecutorState(estate);
}

/* Writes the rows if an INSERT would do no more; all of them, or none. */
static bool
write_directly(const AtlasRows *rows)
{
	Relation	root = open_table(rows->table);
	bool		is_direct = is_plain(root);
	List	   *parts = NIL;
	ListCell   *cell;
	CommandId	command;

	for (int from = 0; is_direct && from < rows->columns[0].nvalues;)
	{
		Part	   *part = palloc(sizeof(Part));

		*part = open_part(rows, root, from);
		if (part->relation == NULL)
		{
			is_direct = false;
			break;
		}
		parts = lappend(parts, part);
		is_direct = is_plain(part->relation) && has_our_columns(part->relation, rows->table);
		from = part->to;
	}
	if (is_direct)
	{
		PreventCommandIfReadOnly("INSERT");
		command = GetCurrentCommandId(true);
		foreach(cell, parts)
			write_part(rows, lfirst(cell), command);
		CommandCounterIncrement();
	}
	close_parts(root, parts);
	return is_direct;
}

void
atlas_rows_insert(const AtlasRows *rows)
{
	AtlasTable *table = rows->table;
	Datum		values[ATLAS_MAX_COLUMNS];

	if (rows->columns[0].nvalues == 0)
		return;
	for (int i = 0; i < table->ncolumns; i++)
		values[i] = atlas_column_array(&rows->columns[i], table->types[i]);
	(void) atlas_execute(&table->insert, values, NULL, false, 0);
}

void
atlas_rows_write(const AtlasRows *rows)
{
	if (rows->columns[0].nvalues > 0 && !write_directly(rows))
		atlas_rows_insert(rows);
}
