/*
 * arrays.c
 *		Values on their way into statements, as arrays, and out of their results.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/arrays.h"

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

text *
atlas_result_text(HeapTuple row, TupleDesc tupdesc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, tupdesc, column, &isnull);

	return isnull ? NULL : DatumGetTextPCopy(value);
}

int
atlas_compare_text(const text *a, const text *b)
{
	int			length_a;
	int			length_b;
	int			result;

	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	length_a = VARSIZE_ANY_EXHDR(a);
	length_b = VARSIZE_ANY_EXHDR(b);
	result = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(length_a, length_b));
	return result != 0 ? result : length_a - length_b;
}
