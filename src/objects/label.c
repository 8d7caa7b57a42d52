/*
 * label.c
 *		What people call an object.
 *
 * The row of the object is read as a lookup reads it (lookup.c), with the label beside its
 * ids. Labels are an extra: if the row cannot be read, whatever the reason is, the events
 * are shown without one. So the lookup runs in a subtransaction, whose error is dropped,
 * and what somebody has locked is not waited for: neither the table, nor a partition, an
 * index, or a table beneath a view.
 */
#include "postgres.h"

#include "base/identity.h"
#include "base/retry.h"
#include "base/subtransaction.h"
#include "objects/label.h"
#include "objects/registry.h"

#define LOCK_TIMEOUT "1ms"		/* 0 would mean to wait */

typedef struct LabelLookup
{
	const char *object_type;
	AtlasLookup lookup;
} LabelLookup;

/* The body of the subtransaction, at whose end the setting is what it was. */
static void
look_up_label(void *argument)
{
	LabelLookup *label = argument;
	AtlasObjectType *type = atlas_object_type(label->object_type);

	atlas_set_for_now("lock_timeout", LOCK_TIMEOUT);
	if (type != NULL && atlas_connect(type, true))
		atlas_lookup_with_label(type, &label->lookup);
}

AtlasDescription
atlas_describe(const char *object_type, const text *tenant, const text *object_id)
{
	LabelLookup label = {
		.object_type = object_type,
		.lookup = {.tenant = tenant, .object_id = object_id, .result = ATLAS_UNAVAILABLE},
	};
	AtlasDescription description = {0};
	ErrorData  *error = atlas_try(look_up_label, &label);

	if (error != NULL)
	{
		if (atlas_is_cancel(error) || error->sqlerrcode == ERRCODE_OUT_OF_MEMORY)
			ReThrowError(error);
		FreeErrorData(error);
	}
	else if (label.lookup.result == ATLAS_FOUND)
	{
		description.external_id = label.lookup.found_external_id;
		description.label = label.lookup.found_label;
	}
	return description;
}

text *
atlas_label(const char *object_type, const text *tenant, const text *object_id)
{
	return atlas_describe(object_type, tenant, object_id).label;
}
