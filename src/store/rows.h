/*
 * rows.h
 *		Adding rows to our tables.
 */
#ifndef ATLAS_ROWS_H
#define ATLAS_ROWS_H

#include "nodes/parsenodes.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "base/arrays.h"
#include "base/statement.h"
#include "base/tables.h"

/* Setting: may rows be written and looked up without a statement? See atlas_events.c. */
extern bool atlas_direct_access;

/*
 * Has the current role this right on a table, and does no policy check or hide rows? A
 * statement asks this only of the table that it names, whoever owns the partitions.
 */
extern bool atlas_may_use_directly(Relation relation, AclMode right);

#define ATLAS_MAX_COLUMNS ATLAS_MAX_PARAMETERS

typedef struct AtlasTableColumn
{
	const char *name;
	Oid			type;
} AtlasTableColumn;

/* One of our tables, all of whose columns are written, in their order. */
typedef struct AtlasTable
{
	AtlasTableId id;
	int			ncolumns;
	AtlasTableColumn columns[ATLAS_MAX_COLUMNS];	/* the first one is the event id */
	bool		skips_existing; /* the INSERT leaves out rows that are there */
	bool		has_documents;	/* its partitions have a GIN index of documents, never null */
	AtlasStatement insert;		/* made of the columns at its first use; an array for each */
} AtlasTable;

/* Rows on their way into a table. */
typedef struct AtlasRows
{
	AtlasTable *table;
	int			nrows;
	AtlasColumn columns[ATLAS_MAX_COLUMNS];
} AtlasRows;

/* No rows yet, and room for size. */
extern void atlas_rows_init(AtlasRows *rows, AtlasTable *table, int size);

/* Adds a row all of whose columns are null, to be set by the calls below. */
extern void atlas_rows_add(AtlasRows *rows);

/* Sets a column of the row that was added last. */
static inline void
atlas_rows_set(AtlasRows *rows, int column, Datum value)
{
	rows->columns[column].values[rows->nrows - 1] = value;
	rows->columns[column].nulls[rows->nrows - 1] = false;
}

/* The same for a type that is passed by reference; NULL leaves the column null. */
static inline void
atlas_rows_set_pointer(AtlasRows *rows, int column, const void *value)
{
	if (value != NULL)
		atlas_rows_set(rows, column, PointerGetDatum(value));
}

/*
 * Writes the rows. If the table is partitioned, they must be in the order of their
 * event ids, and the partitions must be there. To be called as the owner of the
 * extension, inside SPI_connect().
 */
extern void atlas_rows_write(const AtlasRows *rows);

/* The same by an INSERT, which skips rows that are there if the table says so. */
extern void atlas_rows_insert(const AtlasRows *rows);

/*
 * Deletes the rows at these places, unless a DELETE would do more than that. Returns how
 * many a DELETE is needed for, because it would, or because the row has been changed in
 * this transaction; left says which. It has room for nplaces.
 */
extern int	atlas_rows_delete(const AtlasTable *table, const ItemPointerData *places, int nplaces,
							  int *left);

#endif							/* ATLAS_ROWS_H */
