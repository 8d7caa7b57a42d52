/*
 * arrays.h
 *		Arrays as parameters of set-based statements.
 */
#ifndef ATLAS_ARRAYS_H
#define ATLAS_ARRAYS_H

#include "utils/array.h"

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

#endif							/* ATLAS_ARRAYS_H */
