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
	.has_documents = true,
};

/* Which of some documents are there, by their numbers from 1. */
static AtlasStatement select_existing = {
	.sql =
	"SELECT k.n::pg_catalog.int4"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY"
	"             AS k (tenant_id, event_id, n),"
	"       LATERAL (SELECT FROM @extschema@.atlas_event_search s WHERE " ATLAS_IS_KEY("s") " OFFSET 0) s",
	.nparameters = ATLAS_KEYS_NPARAMETERS,
	.parameters = {ATLAS_KEYS_PARAMETERS},
};

/* Those that are there and differ. */
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

/* So many of the statements' first parameters, each an array. */
static void
document_arrays(const AtlasRows *rows, int nvalues, Datum *values)
{
	/* In the order of the statements' parameters. */
	static const int columns[] = {DOCUMENT_TENANT_ID, DOCUMENT_EVENT_ID, DOCUMENT_DOCUMENT, DOCUMENT_PROBLEM};

	for (int i = 0; i < nvalues; i++)
		values[i] = atlas_column_array(&rows->columns[columns[i]], documents_table.columns[columns[i]].type);
}

/* Those that are not there. */
static void
find_missing(const AtlasRows *rows, AtlasRows *missing)
{
	Datum		values[ATLAS_KEYS_NPARAMETERS];
	bool	   *exists = palloc0(sizeof(bool) * rows->nrows);
	SPITupleTable *found;
	uint64		nfound;

	document_arrays(rows, ATLAS_KEYS_NPARAMETERS, values);
	nfound = atlas_execute(&select_existing, values, NULL, false, 0);
	found = SPI_tuptable;
	for (uint64 i = 0; i < nfound; i++)
	{
		bool		isnull;

		exists[DatumGetInt32(SPI_getbinval(found->vals[i], found->tupdesc, 1, &isnull)) - 1] = true;
	}
	SPI_freetuptable(found);
	atlas_document_rows_init(missing, rows->nrows);
	for (int i = 0; i < rows->nrows; i++)
	{
		if (exists[i])
			continue;
		atlas_rows_add(missing);
		for (int j = 0; j < documents_table.ncolumns; j++)
			if (!rows->columns[j].nulls[i])
				atlas_rows_set(missing, j, rows->columns[j].values[i]);
	}
	pfree(exists);
}

void
atlas_document_rows_write(const AtlasRows *rows, AtlasExistingDocuments existing)
{
	Datum		values[4];
	AtlasRows	missing;

	if (rows->nrows == 0)
		return;
	if (existing == ATLAS_NONE_EXISTS)
	{
		atlas_rows_write(rows);
		return;
	}
	if (existing == ATLAS_REPLACE_EXISTING)
	{
		document_arrays(rows, lengthof(values), values);
		(void) atlas_execute(&update_documents, values, NULL, false, 0);
	}
	find_missing(rows, &missing);
	atlas_rows_write(&missing);
}
