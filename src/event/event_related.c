/*
 * event_related.c
 *		Related objects as the log stores them: an array of {objectType, objectId,
 *		externalId} in the order in which they were submitted.
 *
 * An object that can never be looked up is stored like the others: as far as it could be
 * read, and cut to the usual lengths. It has a fourth field, the reason, which becomes its
 * outcome when the event is linked.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "event/event_related.h"

/* Adds a key with a string to the object that is being made. */
static void
push_string(JsonbParseState **state, const char *key, const char *value, int length)
{
	JsonbValue	item;

	item.type = jbvString;
	item.val.string.val = unconstify(char *, key);
	item.val.string.len = strlen(key);
	(void) pushJsonbValue(state, WJB_KEY, &item);
	item.val.string.val = unconstify(char *, value);
	item.val.string.len = length;
	(void) pushJsonbValue(state, WJB_VALUE, &item);
}

/* Adds a string that is cut to the characters that an id may have. */
static void
push_cut(JsonbParseState **state, const char *key, const char *value, int length)
{
	if (length > ATLAS_MAX_ID_LENGTH)
		length = pg_mbcharcliplen(value, length, ATLAS_MAX_ID_LENGTH);
	push_string(state, key, value, length);
}

/* Adds a related object to the array that is being made. */
static void
push_reference(JsonbParseState **state, const AtlasReference *reference)
{
	const char *type = reference->object_type == NULL ? "" : reference->object_type;

	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_cut(state, "objectType", type, strlen(type));
	if (reference->object_id != NULL)
		push_cut(state, "objectId", VARDATA_ANY(reference->object_id),
				 VARSIZE_ANY_EXHDR(reference->object_id));
	if (reference->external_id != NULL)
		push_cut(state, "externalId", VARDATA_ANY(reference->external_id),
				 VARSIZE_ANY_EXHDR(reference->external_id));
	if (reference->problem != NULL)
		push_string(state, "reason", reference->problem, strlen(reference->problem));
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

Jsonb *
atlas_references_to_jsonb(const AtlasReference *references, int nreferences)
{
	JsonbParseState *state = NULL;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(context, "atlas_events references",
												  ALLOCSET_DEFAULT_SIZES);
	Jsonb	   *result;

	MemoryContextSwitchTo(scratch);
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < nreferences; i++)
		push_reference(&state, &references[i]);
	result = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
	MemoryContextSwitchTo(context);

	/* A copy without the room to grow that it was made with. */
	result = memcpy(palloc(VARSIZE(result)), result, VARSIZE(result));
	MemoryContextDelete(scratch);
	return result;
}

/* A field of an object as text. NULL if it is not there, or is not a string. */
static text *
string_field(JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, key, strlen(key), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return cstring_to_text_with_len(value.val.string.val, value.val.string.len);
}

AtlasReference
atlas_reference_from_jsonb(const JsonbValue *item)
{
	AtlasReference reference = {0};
	JsonbContainer *object;
	text	   *type;
	text	   *reason;

	if (item == NULL || item->type != jbvBinary || !JsonContainerIsObject(item->val.binary.data))
		return reference;
	object = item->val.binary.data;
	type = string_field(object, "objectType");
	reason = string_field(object, "reason");
	reference.object_type = type == NULL ? NULL : text_to_cstring(type);
	reference.object_id = string_field(object, "objectId");
	reference.external_id = string_field(object, "externalId");
	reference.problem = reason == NULL ? NULL : text_to_cstring(reason);
	return reference;
}
