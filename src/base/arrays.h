/*
 * arrays.h
 *		Values on their way into statements and out of their results.
 */
#ifndef ATLAS_ARRAYS_H
#define ATLAS_ARRAYS_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/array.h"
#include "utils/uuid.h"

/* A column of values on its way into a statement, as one array parameter. */
typedef struct AtlasColumn
{
	Datum	   *values;
	bool	   *nulls;
	int			nvalues;
} AtlasColumn;

extern void atlas_column_init(AtlasColumn *column, int size);
extern void atlas_column_add(AtlasColumn *column, Datum value);

extern void atlas_column_add_null(AtlasColumn *column);

/* Adds a pointer's value; NULL is null. */
extern void atlas_column_add_pointer(AtlasColumn *column, const void *value);

/* The array, of this element type. */
extern Datum atlas_column_array(const AtlasColumn *column, Oid element_type);

/* A column of a result as text, copied; NULL when it is null. */
extern text *atlas_result_text(HeapTuple row, TupleDesc tupdesc, int column);

/* memcmp order of texts; NULL comes first. */
extern int	atlas_compare_text(const text *a, const text *b);

#endif							/* ATLAS_ARRAYS_H */
