/*
 * object_types.c
 *		The SQL functions about object types: atlas_register_object_type(),
 *		atlas_unregister_object_type(), atlas_discover_object_types(),
 *		atlas_list_built_in_types(), and the trigger of the registry.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "base/arrays.h"
#include "objects/discovery.h"
#include "objects/registration.h"
#include "objects/registry.h"

#define DISCOVERY_NCOLUMNS 6

PG_FUNCTION_INFO_V1(atlas_list_built_in_types);
PG_FUNCTION_INFO_V1(atlas_register_object_type);
PG_FUNCTION_INFO_V1(atlas_unregister_object_type);
PG_FUNCTION_INFO_V1(atlas_discover_object_types);
PG_FUNCTION_INFO_V1(atlas_object_types_changed);

/* A column name that was given, or NULL. */
static const char *
name_argument(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		return NULL;
	return pstrdup(NameStr(*PG_GETARG_NAME(number)));
}

/* Raises an error if an argument is null. */
static void
require_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

Datum
atlas_register_object_type(PG_FUNCTION_ARGS)
{
	AtlasRegistration registration = {0};

	require_argument(fcinfo, 0, "object_type");
	require_argument(fcinfo, 1, "relation");
	require_argument(fcinfo, 2, "id_column");
	registration.relation = PG_GETARG_OID(1);
	registration.id_column = name_argument(fcinfo, 2);
	registration.external_id_column = name_argument(fcinfo, 3);
	registration.tenant_column = name_argument(fcinfo, 4);
	registration.label_column = name_argument(fcinfo, 6);
	atlas_register(PG_GETARG_TEXT_PP(0), PG_ARGISNULL(5) ? NULL : PG_GETARG_ARRAYTYPE_P(5),
				   &registration);
	PG_RETURN_VOID();
}

Datum
atlas_unregister_object_type(PG_FUNCTION_ARGS)
{
	require_argument(fcinfo, 0, "object_type");
	atlas_unregister(PG_GETARG_TEXT_PP(0));
	PG_RETURN_VOID();
}

/* Returns a table that was found as a row. */
static void
put_discovery(ReturnSetInfo *result, const AtlasDiscovery *discovery)
{
	const AtlasRegistration *found = &discovery->registration;
	Datum		values[DISCOVERY_NCOLUMNS];
	bool		nulls[DISCOVERY_NCOLUMNS] = {0};
	NameData	id_column;
	NameData	external_id_column;
	NameData	label_column;

	namestrcpy(&id_column, found->id_column);
	values[0] = CStringGetTextDatum(found->object_type);
	values[1] = ObjectIdGetDatum(found->relation);
	values[2] = NameGetDatum(&id_column);
	values[3] = NameGetDatum(&external_id_column);
	nulls[3] = found->external_id_column == NULL;
	if (!nulls[3])
		namestrcpy(&external_id_column, found->external_id_column);
	values[4] = NameGetDatum(&label_column);
	nulls[4] = found->label_column == NULL;
	if (!nulls[4])
		namestrcpy(&label_column, found->label_column);
	values[5] = BoolGetDatum(discovery->is_registered);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
atlas_discover_object_types(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *discoveries;

	InitMaterializedSRF(fcinfo, 0);
	discoveries = atlas_discover(PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0));
	for (int i = 0; i < list_length(discoveries); i++)
		put_discovery(result, list_nth(discoveries, i));
	return (Datum) 0;
}

/* Tells every session that the registry has changed; this one at its next command. */
Datum
atlas_object_types_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("atlas_object_types_changed() is a trigger function")));

	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

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
