/*
 * leaf_search.c
 *		Searching one table for objects.
 *
 * Objects are looked for in the indexes of the table, key by key. If no index can be
 * used, because it was dropped or is too new for the snapshot of the transaction, the
 * table is read once from its beginning to its end, as a query would do. That is slow,
 * but no event is refused while its object exists.
 *
 * A search sees the rows that a query would see if it began now, including those that
 * this transaction has written itself.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_attribute.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/arrays.h"
#include "base/compat.h"
#include "objects/id_value.h"
#include "objects/label_value.h"
#include "objects/leaf_search.h"

/* ----- What the table has ----- */

/* Finds a column and its base type, or sets the problem. An empty name is no column. */
static AtlasKeyColumn
find_key_column(Oid relation, const NameData *name, Oid (*base_type_of) (Oid), const char **problem)
{
	AtlasKeyColumn column = {0};
	HeapTuple	tuple;

	if (NameStr(*name)[0] == '\0')
		return column;
	tuple = SearchSysCacheAttName(relation, NameStr(*name));
	if (!HeapTupleIsValid(tuple))
	{
		*problem = "a column of the table it is connected to is gone";
		return column;
	}
	column.attribute = ((Form_pg_attribute) GETSTRUCT(tuple))->attnum;
	column.type = base_type_of(((Form_pg_attribute) GETSTRUCT(tuple))->atttypid);
	ReleaseSysCache(tuple);
	if (!OidIsValid(column.type))
		*problem = "a column of the table it is connected to has a type that ids cannot have";
	return column;
}

/*
 * Finds the label column. It is none if it has been dropped or renamed, or if its values
 * cannot be read from the row as text: events are about the object all the same.
 */
static AtlasKeyColumn
find_label_column(Oid relation, const NameData *name)
{
	AtlasKeyColumn column = {0};
	HeapTuple	tuple;
	const FormData_pg_attribute *form;

	if (NameStr(*name)[0] == '\0')
		return column;
	tuple = SearchSysCacheAttName(relation, NameStr(*name));
	if (!HeapTupleIsValid(tuple))
		return column;
	form = (const FormData_pg_attribute *) GETSTRUCT(tuple);
	column.type = atlas_is_virtual(form) ? InvalidOid : atlas_label_base_type(form->atttypid);
	if (OidIsValid(column.type))
		column.attribute = form->attnum;
	ReleaseSysCache(tuple);
	return column;
}

/* External ids may have one type more than ids and tenants. */
const char *
atlas_find_columns(Oid relation, const AtlasColumnNames *names, AtlasColumns *columns)
{
	const char *problem = NULL;

	memset(columns, 0, sizeof(*columns));
	columns->id = find_key_column(relation, &names->id, atlas_id_base_type, &problem);
	columns->external_id = find_key_column(relation, &names->external_id,
										   atlas_external_id_base_type, &problem);
	columns->tenant = find_key_column(relation, &names->tenant, atlas_id_base_type, &problem);
	columns->label = find_label_column(relation, &names->label);
	return problem;
}

/* The indexes are chosen once here, not at each lookup. */
const char *
atlas_read_leaf(Oid relation, const AtlasColumnNames *names, AtlasLeaf *leaf)
{
	const char *problem = atlas_find_columns(relation, names, &leaf->columns);

	leaf->relation = relation;
	if (problem != NULL)
		return problem;
	atlas_choose_index(relation, &leaf->columns.id, &leaf->columns.tenant, &leaf->id_index);
	atlas_choose_index(relation, &leaf->columns.external_id, &leaf->columns.tenant,
					   &leaf->external_id_index);
	return NULL;
}

/* ----- Rows ----- */

/*
 * The value of a column as the text of an id; NULL if it is null or there is no such
 * column.
 */
static text *
text_in_slot(TupleTableSlot *slot, const AtlasKeyColumn *column)
{
	bool		isnull = true;
	Datum		value = (Datum) 0;

	if (AttributeNumberIsValid(column->attribute))
		value = slot_getattr(slot, column->attribute, &isnull);
	return isnull ? NULL : atlas_id_to_text(column->type, value);
}

/* The label in a row; NULL if it is null, or nobody wants it. */
static text *
label_in_slot(TupleTableSlot *slot, const AtlasKeyColumn *column, bool is_wanted)
{
	bool		isnull;
	Datum		value;

	if (!is_wanted || !AttributeNumberIsValid(column->attribute))
		return NULL;
	value = slot_getattr(slot, column->attribute, &isnull);
	return isnull ? NULL : atlas_label_to_text(column->type, value);
}

/* Reports a row. One without an id is passed over, because no event can be about it. */
static bool
report_row(const AtlasLeaf *leaf, TupleTableSlot *slot, const AtlasWanted *wanted,
		   AtlasFound found, void *searcher)
{
	text	   *id = text_in_slot(slot, &leaf->columns.id);

	return id == NULL ||
		found(searcher, wanted->number, id, text_in_slot(slot, &leaf->columns.external_id),
			  label_in_slot(slot, &leaf->columns.label, wanted->with_label));
}

/* ----- By index ----- */

/* Looks up, one after the other in one index, all that is wanted by that key. */
static void
search_index(const AtlasLeaf *leaf, const AtlasLookupIndex *index, const AtlasWanted *wanted,
			 int nwanted, bool by_external_id, AtlasFound found, void *searcher)
{
	AtlasIndexScan *scan = NULL;

	for (int i = 0; i < nwanted; i++)
	{
		TupleTableSlot *slot;

		if (wanted[i].by_external_id != by_external_id)
			continue;
		if (scan == NULL)
			scan = atlas_index_scan_begin(leaf->relation, index);
		atlas_index_scan_key(scan, wanted[i].key, wanted[i].tenant);
		while ((slot = atlas_index_scan_next(scan)) != NULL &&
			   report_row(leaf, slot, &wanted[i], found, searcher))
			 /* next row */ ;
	}
	if (scan != NULL)
		atlas_index_scan_end(scan);
}

/* ----- From beginning to end ----- */

/* Something wanted, with the text that tells ids of its type apart. */
typedef struct WantedText
{
	text	   *normalised;
	const AtlasWanted *wanted;
} WantedText;

/* Orders by the text that tells ids apart. */
static int
compare_wanted_texts(const void *a, const void *b)
{
	return atlas_compare_text(((const WantedText *) a)->normalised,
							  ((const WantedText *) b)->normalised);
}

/* Those that are wanted by this key, sorted. */
static WantedText *
sort_wanted(const AtlasWanted *wanted, int nwanted, bool by_external_id, Oid type, int *nsorted)
{
	WantedText *sorted = palloc(sizeof(WantedText) * Max(nwanted, 1));

	*nsorted = 0;
	for (int i = 0; i < nwanted; i++)
	{
		if (wanted[i].by_external_id != by_external_id)
			continue;
		sorted[*nsorted].normalised = atlas_id_normalised(type, wanted[i].key_text);
		sorted[(*nsorted)++].wanted = &wanted[i];
	}
	qsort(sorted, *nsorted, sizeof(WantedText), compare_wanted_texts);
	return sorted;
}

/* A search that reads the whole table. */
typedef struct TableSearch
{
	const AtlasLeaf *leaf;
	const AtlasKeyColumn *key;
	AtlasTenantEquality tenants;
	WantedText *sorted;
	int			nsorted;
	AtlasFound	found;
	void	   *searcher;
} TableSearch;

/* The first of the sorted ones that is the key of a row. NULL if none is. */
static WantedText *
first_match(const TableSearch *search, TupleTableSlot *slot)
{
	WantedText	row = {0};
	WantedText *match;
	text	   *key = text_in_slot(slot, search->key);

	if (key == NULL)
		return NULL;
	row.normalised = atlas_id_normalised(search->key->type, key);
	match = bsearch(&row, search->sorted, search->nsorted, sizeof(WantedText), compare_wanted_texts);
	while (match != NULL && match > search->sorted && compare_wanted_texts(match - 1, match) == 0)
		match--;
	return match;
}

/* Reports a row to all who want it. */
static void
report_matches(const TableSearch *search, const WantedText *first, TupleTableSlot *slot)
{
	const WantedText *end = search->sorted + search->nsorted;

	for (const WantedText *match = first;
		 match < end && compare_wanted_texts(match, first) == 0; match++)
		if (atlas_has_tenant(&search->tenants, slot, match->wanted->tenant))
			(void) report_row(search->leaf, slot, match->wanted, search->found, search->searcher);
}

/* Reads the table once, and holds each row against all that is wanted. */
static void
read_table(TableSearch *search)
{
	Relation	relation = table_open(search->leaf->relation, NoLock);
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events row",
													  ALLOCSET_DEFAULT_SIZES);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	Snapshot	snapshot;
	TableScanDesc scan;

	search->tenants = atlas_tenant_equality(relation, &search->leaf->columns.tenant);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	scan = table_beginscan(relation, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext caller = MemoryContextSwitchTo(row_context);
		WantedText *first;

		CHECK_FOR_INTERRUPTS();
		first = first_match(search, slot);
		MemoryContextSwitchTo(caller);
		if (first != NULL)
			report_matches(search, first, slot);
		MemoryContextReset(row_context);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(row_context);
	table_close(relation, NoLock);
}

/* Searches by one key without an index. */
static void
search_table(const AtlasLeaf *leaf, const AtlasKeyColumn *key, const AtlasWanted *wanted,
			 int nwanted, bool by_external_id, AtlasFound found, void *searcher)
{
	TableSearch search = {.leaf = leaf,.key = key,.found = found,.searcher = searcher};

	search.sorted = sort_wanted(wanted, nwanted, by_external_id, key->type, &search.nsorted);
	if (search.nsorted > 0)
		read_table(&search);
	pfree(search.sorted);
}

/* ----- Either way ----- */

/* Searches by one key, in the index if that has everything this transaction can see. */
static void
search_by(const AtlasLeaf *leaf, const AtlasLookupIndex *index, const AtlasKeyColumn *key,
		  const AtlasWanted *wanted, int nwanted, bool by_external_id, AtlasFound found,
		  void *searcher)
{
	if (atlas_index_is_complete(index))
		search_index(leaf, index, wanted, nwanted, by_external_id, found, searcher);
	else
		search_table(leaf, key, wanted, nwanted, by_external_id, found, searcher);
}

void
atlas_search_leaf(const AtlasLeaf *leaf, const AtlasWanted *wanted, int nwanted,
				  AtlasFound found, void *searcher)
{
	const AtlasColumns *columns = &leaf->columns;

	search_by(leaf, &leaf->id_index, &columns->id, wanted, nwanted, false, found, searcher);
	if (AttributeNumberIsValid(columns->external_id.attribute))
		search_by(leaf, &leaf->external_id_index, &columns->external_id, wanted, nwanted, true,
				  found, searcher);
}
