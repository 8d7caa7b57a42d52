/*
 * rows.c
 *		Adding rows to our tables.
 *
 * Rows are formed and put into the table and its indexes as COPY does it. Planning and
 * running an INSERT would cost as much again as the writing itself. A table is written
 * with a regular INSERT where that would do more (the table has triggers, rules,
 * policies that concern the owner, CHECK constraints, indexes that compute something, or
 * columns that are not ours), or would be refused. Rows are deleted in the same way, by
 * their places, from tables without triggers and rules.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/extension.h"
#include "base/statement.h"
#include "base/tables.h"
#include "store/gin_documents.h"
#include "store/partitions.h"
#include "store/rows.h"

bool		atlas_direct_access = true;

#define GROUP_SIZE 100			/* rows that are put into a table at once */

/* A table without partitions of its own, and which of the rows go there. */
typedef struct Part
{
	ResultRelInfo *result;
	Relation	documents_index;	/* which takes all rows at once; NULL: there is none */
	AttrNumber	document;		/* its column */
	ItemPointerData *places;	/* of the rows, for this index */
	int			from;
	int			to;
} Part;

void
atlas_rows_init(AtlasRows *rows, AtlasTable *table, int size)
{
	Datum	   *values = palloc((sizeof(Datum) + sizeof(bool)) * Max(size, 1) * table->ncolumns);
	bool	   *nulls = (bool *) (values + (Size) Max(size, 1) * table->ncolumns);

	rows->table = table;
	rows->nrows = 0;
	for (int i = 0; i < table->ncolumns; i++)
	{
		rows->columns[i].values = values + (Size) size * i;
		rows->columns[i].nulls = nulls + (Size) size * i;
		rows->columns[i].nvalues = 0;
	}
}

void
atlas_rows_add(AtlasRows *rows)
{
	for (int i = 0; i < rows->table->ncolumns; i++)
		atlas_column_add_null(&rows->columns[i]);
	rows->nrows++;
}

/* Locks and opens the table. While we wait for the lock, the extension may be dropped and created again. */
static Relation
open_table(const AtlasTable *table)
{
	Oid			relid = InvalidOid;

	while (relid != atlas_relation(table->id))
	{
		relid = atlas_relation(table->id);
		LockRelationOid(relid, RowExclusiveLock);
	}
	return table_open(relid, NoLock);
}

bool
atlas_may_use_directly(Relation relation, AclMode right)
{
	const FormData_pg_class *form = relation->rd_rel;
	bool		is_free = form->relowner == GetUserId() && !form->relforcerowsecurity;

	return (is_free || check_enable_rls(RelationGetRelid(relation), InvalidOid, true) != RLS_ENABLED) &&
		(superuser() ||
		 pg_class_aclcheck(RelationGetRelid(relation), GetUserId(), right) == ACLCHECK_OK);
}

/* Would an INSERT write the row, and do no more? */
static bool
is_plain(Relation relation)
{
	const TupleConstr *constraints = relation->rd_att->constr;

	return relation->trigdesc == NULL && relation->rd_rules == NULL &&
		(constraints == NULL || (constraints->num_check == 0 && !constraints->has_generated_stored));
}

/*
 * Are its columns the ones that are written, in the same order, and no others? A type
 * modifier rounds the value that is inserted, and an identity column may refuse it.
 */
static bool
has_our_columns(Relation relation, const AtlasTable *table)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);

	if (relation->rd_rel->relkind != RELKIND_RELATION || tupdesc->natts != table->ncolumns)
		return false;
	for (int i = 0; i < tupdesc->natts; i++)
	{
		const FormData_pg_attribute *attribute = TupleDescAttr(tupdesc, i);

		if (attribute->attisdropped || attribute->atttypid != table->columns[i].type ||
			attribute->atttypmod != -1 || attribute->attidentity != '\0' ||
			attribute->attgenerated != '\0' ||
			strcmp(NameStr(attribute->attname), table->columns[i].name) != 0)
			return false;
	}
	return true;
}

/* Does the predicate of an index say only that a NOT NULL column is not null, as that of the queue's cursor does? */
static bool
is_always_true(Relation relation, const List *predicate)
{
	const NullTest *test = list_length(predicate) == 1 ? linitial(predicate) : NULL;

	return test != NULL && IsA(test, NullTest) && test->nulltesttype == IS_NOT_NULL &&
		IsA(test->arg, Var) && ((const Var *) test->arg)->varattno > 0 &&
		TupleDescAttr(RelationGetDescr(relation), ((const Var *) test->arg)->varattno - 1)->attnotnull;
}

/*
 * Does an index compute nothing, and compare values with functions of PostgreSQL's own?
 * A condition that is always true is taken out, so that it is not evaluated for each row.
 */
static bool
is_plain_index(Relation relation, Relation index, IndexInfo *info)
{
	int			nsupport = info->ii_NumIndexKeyAttrs * index->rd_indam->amsupport;

	for (int i = 0; i < nsupport; i++)
		if (index->rd_support[i] >= FirstNormalObjectId)
			return false;
	if (is_always_true(relation, info->ii_Predicate))
		info->ii_Predicate = NIL;
	return info->ii_Expressions == NIL && info->ii_Predicate == NIL;
}

/* Can all indexes of the table be written without evaluating anything? */
static bool
has_plain_indexes(const ResultRelInfo *result)
{
	for (int i = 0; i < result->ri_NumIndices; i++)
		if (!is_plain_index(result->ri_RelationDesc, result->ri_IndexRelationDescs[i],
							result->ri_IndexRelationInfo[i]))
			return false;
	return true;
}

/* The partition that a row goes to, and the first row that goes elsewhere. */
static Oid
partition_of(const AtlasRows *rows, int from, int *to)
{
	*to = rows->nrows;
	return atlas_partition_of(rows->table->id, rows->columns[0].values, from, to);
}

/*
 * Locks and opens the partition of a row; NULL when there is none. While we wait for
 * the lock, it may be detached, or a default partition may lose the row to a new one.
 */
static Relation
open_partition(const AtlasRows *rows, int from, int *to)
{
	Oid			partition = partition_of(rows, from, to);
	Oid			locked = InvalidOid;

	while (OidIsValid(partition) && partition != locked)
	{
		locked = partition;
		LockRelationOid(locked, RowExclusiveLock);
		partition = partition_of(rows, from, to);
	}
	return OidIsValid(partition) ? table_open(partition, NoLock) : NULL;
}

/* Takes the index of documents, if there is one, out of those that are written row by row. */
static void
take_documents_index(Part *part)
{
	ResultRelInfo *result = part->result;

	for (int i = 0; i < result->ri_NumIndices && part->documents_index == NULL; i++)
	{
		IndexInfo  *info = result->ri_IndexRelationInfo[i];

		if (!atlas_gin_takes_documents(result->ri_IndexRelationDescs[i], info))
			continue;
		part->documents_index = result->ri_IndexRelationDescs[i];
		part->document = info->ii_IndexAttrNumbers[0];
		part->places = palloc(sizeof(ItemPointerData) * (part->to - part->from));
		info->ii_ReadyForInserts = false;
	}
}

/* The part that begins with a row; NULL when there is no partition for it. */
static Part *
open_part(const AtlasRows *rows, Relation root, int from)
{
	Part	   *part = palloc0(sizeof(Part));
	Relation	relation = root;

	part->from = from;
	part->to = rows->nrows;
	if (atlas_tables[rows->table->id].is_partitioned)
		relation = open_partition(rows, from, &part->to);
	if (relation == NULL)
		return NULL;
	part->result = makeNode(ResultRelInfo);
	InitResultRelInfo(part->result, relation, 0, NULL, 0);
	ExecOpenIndices(part->result, false);
	return part;
}

/* Opens all parts; false when an INSERT is needed for one of them. */
static bool
open_parts(const AtlasRows *rows, Relation root, List **parts)
{
	int			nrows = rows->nrows;

	*parts = NIL;
	if (!is_plain(root) || !atlas_may_use_directly(root, ACL_INSERT))
		return false;
	for (int from = 0; from < nrows;)
	{
		Part	   *part = open_part(rows, root, from);

		if (part == NULL)
			return false;
		*parts = lappend(*parts, part);
		if (!is_plain(part->result->ri_RelationDesc) ||
			!has_our_columns(part->result->ri_RelationDesc, rows->table) ||
			!has_plain_indexes(part->result))
			return false;
		if (rows->table->has_documents)
			take_documents_index(part);
		from = part->to;
	}
	return true;
}

/* Closes what open_parts() has opened; the locks stay until the end of the transaction. */
static void
close_parts(Relation root, const List *parts)
{
	ListCell   *cell;

	foreach(cell, parts)
	{
		const Part *part = lfirst(cell);
		Relation	relation = part->result->ri_RelationDesc;

		ExecCloseIndices(part->result);
		if (relation != root)
			table_close(relation, NoLock);
	}
	table_close(root, NoLock);
}

/* Puts the values of a row into a slot of the executor. */
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
	{
		CHECK_FOR_INTERRUPTS();
		(void) atlas_insert_index_tuples(result, slots[i], estate);
	}
	MemoryContextSwitchTo(old);
	ResetPerTupleExprContext(estate);
}

/* Adds the rows of a part, whose places are known, to the index of documents. */
static void
write_documents_index(const AtlasRows *rows, const Part *part)
{
	const AtlasColumn *column = &rows->columns[part->document - 1];
	int			nrows = part->to - part->from;
	TSVector   *documents = palloc(sizeof(TSVector) * nrows);

	for (int i = 0; i < nrows; i++)
		documents[i] = (TSVector) DatumGetPointer(column->values[part->from + i]);
	atlas_gin_add_documents(part->documents_index, documents, part->places, nrows);
}

/* Writes the rows of a part, some at a time. */
static void
write_part(EState *estate, const AtlasRows *rows, const Part *part, CommandId command)
{
	TupleTableSlot *slots[GROUP_SIZE];
	int			nslots = Min(part->to - part->from, GROUP_SIZE);

	for (int i = 0; i < nslots; i++)
		slots[i] = table_slot_create(part->result->ri_RelationDesc, &estate->es_tupleTable);
	for (int from = part->from; from < part->to; from += nslots)
	{
		nslots = Min(part->to - from, nslots);
		for (int i = 0; i < nslots; i++)
			fill_slot(slots[i], rows, from + i);
		write_group(estate, part->result, slots, nslots, command);
		for (int i = 0; i < nslots && part->places != NULL; i++)
			part->places[from - part->from + i] = slots[i]->tts_tid;
	}
	if (part->documents_index != NULL)
		write_documents_index(rows, part);
}

/* Writes the rows if an INSERT would do no more; all of them, or none. */
static bool
write_directly(const AtlasRows *rows)
{
	EState	   *estate = CreateExecutorState();
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	Relation	root = open_table(rows->table);
	List	   *parts;
	ListCell   *cell;
	bool		is_direct = open_parts(rows, root, &parts);

	if (is_direct)
	{
		CommandId	command;

		PreventCommandIfReadOnly("INSERT");
		command = GetCurrentCommandId(true);
		foreach(cell, parts)
			write_part(estate, rows, lfirst(cell), command);
	}
	close_parts(root, parts);
	ExecResetTupleTable(estate->es_tupleTable, false);
	MemoryContextSwitchTo(old);
	FreeExecutorState(estate);
	if (is_direct)
		CommandCounterIncrement();
	return is_direct;
}

/* INSERT of all columns, from an array for each of them. */
static void
make_insert(AtlasTable *table)
{
	StringInfoData names;
	StringInfoData arrays;

	initStringInfo(&names);
	initStringInfo(&arrays);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const char *comma = i > 0 ? ", " : "";

		appendStringInfo(&names, "%s%s", comma, table->columns[i].name);
		appendStringInfo(&arrays, "%spg_catalog.unnest($%d)", comma, i + 1);
		table->insert.parameters[i] = get_array_type(table->columns[i].type);
	}
	table->insert.nparameters = table->ncolumns;
	table->insert.sql = MemoryContextStrdup(TopMemoryContext,
											psprintf("INSERT INTO @extschema@.%s (%s) SELECT * FROM ROWS FROM (%s) AS r%s",
													 atlas_tables[table->id].name, names.data, arrays.data,
													 table->skips_existing ? " ON CONFLICT DO NOTHING" : ""));
}

void
atlas_rows_insert(const AtlasRows *rows)
{
	AtlasTable *table = rows->table;
	Datum		values[ATLAS_MAX_COLUMNS];

	if (rows->nrows == 0)
		return;
	if (table->insert.sql == NULL)
		make_insert(table);
	for (int i = 0; i < table->ncolumns; i++)
		values[i] = atlas_column_array(&rows->columns[i], table->columns[i].type);
	(void) atlas_execute(&table->insert, values, NULL, false, 0);
}

void
atlas_rows_write(const AtlasRows *rows)
{
	if (rows->nrows == 0)
		return;
	if (!atlas_direct_access || !write_directly(rows))
		atlas_rows_insert(rows);
}

/* ----- Deleting ----- */

/* Would a DELETE remove rows from the table, and do no more? */
static bool
is_plainly_deleted_from(Relation relation)
{
	return atlas_direct_access && relation->rd_rel->relkind == RELKIND_RELATION &&
		relation->trigdesc == NULL && relation->rd_rules == NULL &&
		atlas_may_use_directly(relation, ACL_DELETE);
}

/* Deletes a row. Returns false if there is another version of it now, or none. */
static bool
delete_row(Relation relation, const ItemPointerData *place, CommandId command, TupleTableSlot *slot)
{
	ItemPointerData tid = *place;
	TM_FailureData failure;

	/* What this transaction itself has changed must not be tried. */
	if (!ItemPointerIsValid(&tid) ||
		!table_tuple_fetch_row_version(relation, &tid, GetActiveSnapshot(), slot))
		return false;
	ExecClearTuple(slot);
	return table_tuple_delete(relation, &tid, command, GetActiveSnapshot(), InvalidSnapshot,
							  true, &failure, false) == TM_Ok;
}

int
atlas_rows_delete(const AtlasTable *table, const ItemPointerData *places, int nplaces, int *left)
{
	Relation	relation = open_table(table);
	bool		is_direct = is_plainly_deleted_from(relation);
	CommandId	command = InvalidCommandId;
	TupleTableSlot *slot = NULL;
	int			nleft = 0;

	if (is_direct)
	{
		PreventCommandIfReadOnly("DELETE");
		CheckCmdReplicaIdentity(relation, CMD_DELETE);
		PushActiveSnapshot(GetTransactionSnapshot());
		command = GetCurrentCommandId(true);
		slot = table_slot_create(relation, NULL);
	}
	for (int i = 0; i < nplaces; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_direct || !delete_row(relation, &places[i], command, slot))
			left[nleft++] = i;
	}
	if (is_direct)
	{
		ExecDropSingleTupleTableSlot(slot);
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
	table_close(relation, NoLock);
	return nleft;
}
