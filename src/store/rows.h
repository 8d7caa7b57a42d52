/*
 * rows.h
 *		Adding rows to the log, the queue and the links.
 */
#ifndef ATLAS_ROWS_H
#define ATLAS_ROWS_H

#include "base/arrays.h"
#include "base/statement.h"
#include "store/partitions.h"

/* Setting: may rows be written and looked up without a statement? See atlas_events.c. */
extern bool atlas_direct_access;

#define ATLAS_MAX_COLUMNS ATLAS_MAX_PARAMETERS

/* One of our tables, all of whose columns are written. */
typedef struct AtlasTable
{
	size_t		relation;		/* offset of its OID in AtlasExtension */
	AtlasPartitioned partitions;	/* by event id, the first column */
	int			ncolumns;
	const char *columns[ATLAS_MAX_COLUMNS];
	Oid			types[ATLAS_MAX_COLUMNS];
	AtlasStatement insert;		/* does the same, with an array for each column */
} AtlasTable;

/* Rows on their way into a table. */
typedef struct AtlasRows
{
	AtlasTable *table;
	AtlasColumn columns[ATLAS_MAX_COLUMNS];
} AtlasRows;

/* No rows yet, and room for size. */
extern void atlas_rows_init(AtlasRows *rows, AtlasTable *table, int size);

/* Adds a value to each column, in their order. */
extern void atlas_rows_add(AtlasRows *rows, const Datum *values, const bool *nulls);

/*
 * Writes the rows, in the order of their event ids if the table is partitioned,
 * whose partitions must be there. To be called as the owner of the extension,
 * inside SPI_connect().
 */
extern void atlas_rows_write(const AtlasRows *rows);

/* The same with the table's statement, whatever it does with rows that are there. */
extern void atlas_rows_insert(const AtlasRows *rows);

#endif							/* ATLAS_ROWS_H */
