/*
 * tables.c
 *		atlas_tables(): the extension's own tables, for tools and tests.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "base/tables.h"

PG_FUNCTION_INFO_V1(atlas_tables_list);

/* The columns of the result. */
enum
{
	TABLE_NAME,
	TENANT_COLUMN,
	IS_PARTITIONED,
	IS_DUMPED,
	IS_PUBLISHED,
	ERASED_BY,
	DISTRIBUTED_BY,
	NCOLUMNS
};

/* NULL becomes null. */
static void
set_text(Datum *values, bool *nulls, int column, const char *value)
{
	nulls[column] = value == NULL;
	values[column] = value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/* Returns the table of tables as it stands in base/tables.c. */
Datum
atlas_tables_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < ATLAS_NTABLES; i++)
	{
		const AtlasTableFacts *table = &atlas_tables[i];
		Datum		values[NCOLUMNS];
		bool		nulls[NCOLUMNS] = {false};

		set_text(values, nulls, TABLE_NAME, table->name);
		set_text(values, nulls, TENANT_COLUMN, table->tenant_column);
		values[IS_PARTITIONED] = BoolGetDatum(table->is_partitioned);
		values[IS_DUMPED] = BoolGetDatum(table->is_dumped);
		values[IS_PUBLISHED] = BoolGetDatum(table->is_published);
		set_text(values, nulls, ERASED_BY, table->erased_by);
		set_text(values, nulls, DISTRIBUTED_BY, table->distributed_by);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
