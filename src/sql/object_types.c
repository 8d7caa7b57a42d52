/*
 * object_types.c
 *		atlas_list_built_in_types(): the built-in object types, for the Events API.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "base/arrays.h"
#include "objects/registry.h"

PG_FUNCTION_INFO_V1(atlas_list_built_in_types);

/* One row per type: its name, and its aliases as people write them. */
Datum
atlas_list_built_in_types(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < atlas_built_in_type_count; i++)
	{
		const AtlasBuiltInType *type = &atlas_built_in_types[i];
		AtlasColumn aliases;
		Datum		values[2];
		bool		nulls[2] = {false, false};

		atlas_column_init(&aliases, lengthof(type->aliases));
		for (int j = 0; j < lengthof(type->aliases) && type->aliases[j] != NULL; j++)
			atlas_column_add(&aliases, CStringGetTextDatum(type->aliases[j]));
		values[0] = CStringGetTextDatum(type->name);
		values[1] = atlas_column_array(&aliases, TEXTOID);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
