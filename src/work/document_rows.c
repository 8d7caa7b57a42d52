/*
 * document_rows.c
 *		Rows of atlas_event_search: the documents by which events are found.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/statement.h"
#include "store/event_keys.h"
#include "store/partitions.h"
#include "store/rows.h"
#include "work/document_rows.h"
#include "work/pending_lists.h"

enum
{
	DOCUMENT_EVENT_ID,
	DOCUMENT_TENANT_ID,
	DOCUMENT_DOCUMENT,
	DOCUMENT_PROBLEM
};

/* The columns, as the install script has them. */
static AtlasTable documents_table = {
	.id = ATLAS_EVENT_SEARCH,
	.ncolumns = DOCUMENT_PROBLEM + 1,
	.columns = {
		[DOCUMENT_EVENT_ID] = {"event_id", UUIDOID},
		[DOCUMENT_TENANT_ID] = {"tenant_id", TEXTOID},
		[DOCUMENT_DOCUMENT] = {"document", TSVECTOROID},
		[DOCUMENT_PROBLEM] = {"problem", TEXTOID},
	},
	.skips_existing = true,
};

/*
 * Those that are there and differ. The parent has no index, so an INSERT cannot do this by
 * itself. Each is looked up in the primary key of its partition; the others are not looked at.
 */
static AtlasStatement update_documents = {
	.sql =
	"UPDATE @extschema@.atlas_event_search s"
	"   SET document = k.document, problem = k.problem"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	"                  pg_catalog.unnest($4)) AS k (tenant_id, event_id, document, problem)"
	" WHERE " ATLAS_FINDS_KEY("s")
	"   AND (s.document OPERATOR(pg_catalog.<>) k.document"
	"        OR COALESCE(s.problem, '') OPERATOR(pg_catalog.<>) COALESCE(k.problem, ''))",
	.nparameters = 4,
	.parameters = {TEXTARRAYOID, UUIDARRAYOID, TSVECTORARRAYOID, TEXTARRAYOID},
};

void
atlas_document_rows_init(AtlasRows *rows, int size)
{
	atlas_rows_init(rows, &documents_table, size);
}

/* A document without words. */
static TSVector
empty_document(void)
{
	TSVector	document = palloc0(CALCDATASIZE(0, 0));

	SET_VARSIZE(document, CALCDATASIZE(0, 0));
	return document;
}

void
atlas_document_rows_add(AtlasRows *rows, const AtlasEventKey *key, TSVector document, const char *problem)
{
	atlas_rows_add(rows);
	atlas_rows_set_pointer(rows, DOCUMENT_EVENT_ID, &key->id);
	atlas_rows_set_pointer(rows, DOCUMENT_TENANT_ID, key->tenant);
	atlas_rows_set_pointer(rows, DOCUMENT_DOCUMENT, document != NULL ? document : empty_document());
	if (problem != NULL)
		atlas_rows_set(rows, DOCUMENT_PROBLEM, CStringGetTextDatum(problem));
}

/* Writes them over those that are there. */
static void
replace_documents(const AtlasRows *rows)
{
	Datum		values[4];

	values[0] = atlas_column_array(&rows->columns[DOCUMENT_TENANT_ID], TEXTOID);
	values[1] = atlas_column_array(&rows->columns[DOCUMENT_EVENT_ID], UUIDOID);
	values[2] = atlas_column_array(&rows->columns[DOCUMENT_DOCUMENT], TSVECTOROID);
	values[3] = atlas_column_array(&rows->columns[DOCUMENT_PROBLEM], TEXTOID);
	(void) atlas_execute(&update_documents, values, NULL, false, 0);
}

/* Notes to which partitions they went. */
static void
note_pending(const AtlasRows *rows)
{
	int			to;

	for (int from = 0; from < rows->nrows; from = to)
	{
		Oid			partition;

		to = rows->nrows;
		partition = atlas_partition_of(ATLAS_EVENT_SEARCH, rows->columns[DOCUMENT_EVENT_ID].values, from, &to);
		if (OidIsValid(partition))
			atlas_pending_list_note(partition, to - from);
	}
}

void
atlas_document_rows_write(const AtlasRows *rows, AtlasExistingDocuments existing)
{
	if (rows->nrows == 0)
		return;
	if (existing == ATLAS_NONE_EXISTS)
		atlas_rows_write(rows);
	else
	{
		if (existing == ATLAS_REPLACE_EXISTING)
			replace_documents(rows);
		atlas_rows_insert(rows);
	}
	note_pending(rows);
}
