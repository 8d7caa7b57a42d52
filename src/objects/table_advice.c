/*
 * table_advice.c
 *		Looks through the registered tables for one that cannot be looked up, or
 *		only slowly, and says what can be done about it.
 */
#include "postgres.h"

#include "objects/lookup.h"
#include "objects/registry.h"
#include "objects/table_advice.h"

/* What is wrong with the table of a type, or will be. NULL if all is well. */
static const char *
advice_about(AtlasObjectType *type)
{
	if (!OidIsValid(type->relation) || !atlas_connect(type, true))
		return NULL;
	if (type->connection == ATLAS_BROKEN)
		return psprintf("Events of object type %s are refused, since %s: register it again with atlas_register_object_type().",
						type->name, type->problem);
	if (type->target.way == ATLAS_BY_LEAVES &&
		atlas_count_leaves(type->relation, &type->columns, false) > ATLAS_MAX_LEAVES)
		return psprintf("Each lookup of an object of type %s reads more than %d partitions: partition its table by the id, or into fewer partitions.",
						type->name, ATLAS_MAX_LEAVES);
	if (type->target.way == ATLAS_BY_LEAF && !OidIsValid(type->leaf.id_index.index))
		return psprintf("Each lookup of an object of type %s reads its whole table: create a unique index on its id column.",
						type->name);
	return NULL;
}

const char *
atlas_object_types_advice(void)
{
	ListCell   *cell;

	foreach(cell, atlas_object_types())
	{
		const char *advice = advice_about(lfirst(cell));

		if (advice != NULL)
			return advice;
	}
	return NULL;
}
