/*
 * arrays.c
 *		Arrays as parameters of set-based statements.
 */
#include "postgres.h"

#include "arrays.h"
#include "utils/lsyscache.h"

void
atlas_column_init(AtlasColumn *column, int size)
{
	column->values = palloc(sizeof(Datum) * Max(size, 1));
	column->nulls = palloc(sizeof(bool) * Max(size, 1));
	column->nvalues = 0;
}

void
atlas_column_add(AtlasColumn *column, Datum value)
{
	column->values[column->nvalues] = value;
	column->nulls[column->nvalues++] = false;
}

void
atlas_column_add_null(AtlasColumn *column)
{
	column->values[column->nvalues] = (Datum) 0;
	column->nulls[column->nvalues++] = true;
}

void
atlas_column_add_pointer(AtlasColumn *column, const void *value)
{
	if (value == NULL)
		atlas_column_add_null(column);
	else
		atlas_column_add(column, PointerGetDatum(value));
}

Datum
atlas_column_array(const AtlasColumn *column, Oid element_type)
{
	int			dimensions[1];
	int			lower_bounds[1] = {1};
	int16		length;
	bool		by_value;
	char		alignment;

	dimensions[0] = column->nvalues;
	get_typlenbyvalalign(element_type, &length, &by_value, &alignment);
	if (column->nvalues == 0)
		return PointerGetDatum(construct_empty_array(element_type));
	return PointerGetDatum(construct_md_array(column->values, column->nulls, 1, dimensions,
											  lower_bounds, element_type,
											  length, by_value, alignment));
}
