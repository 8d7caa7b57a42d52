/*
 * arguments.c
 *		Arguments that several SQL functions for readers have.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/event_id.h"
#include "event/validation.h"
#include "objects/registry.h"
#include "sql/arguments.h"

void
atlas_require_argument(bool given, const char *field, const char *message)
{
	AtlasError	error = {0};

	if (given)
		return;
	atlas_add_problem(&error, "required", pstrdup(field), "%s", message);
	atlas_raise(&error);
}

AtlasObjectType *
atlas_type_argument(const text *given)
{
	AtlasObjectType *type = atlas_object_type(atlas_fold_object_type(VARDATA_ANY(given),
																	 VARSIZE_ANY_EXHDR(given)));

	if (type == NULL)
	{
		AtlasError	error = {0};

		atlas_add_problem(&error, "unknown_type", "/objectType",
						  "is neither a built-in object type nor a registered one");
		atlas_raise(&error);
	}
	return type;
}

text *
atlas_text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_TEXT_PP(number);
}

int
atlas_size_argument(FunctionCallInfo fcinfo, int number, const char *name, int if_null)
{
	int			size = PG_ARGISNULL(number) ? if_null : PG_GETARG_INT32(number);

	if (size < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at least 1", name)));
	return size;
}

int
atlas_count_argument(FunctionCallInfo fcinfo, int number, int if_null, const char *field)
{
	AtlasError	error = {0};
	int			value = PG_ARGISNULL(number) ? if_null : PG_GETARG_INT32(number);

	if (value >= 1)
		return value;
	atlas_add_problem(&error, "invalid", field, "must be at least 1");
	atlas_raise(&error);
}

void
atlas_query_argument(FunctionCallInfo fcinfo, int number, AtlasSearchQuery *query)
{
	const text *given = atlas_text_argument(fcinfo, number);

	if (given == NULL)
		atlas_parse_query("", 0, query);
	else
		atlas_parse_query(VARDATA_ANY(given), VARSIZE_ANY_EXHDR(given), query);
	if (query->nleft_out > 0)
		ereport(NOTICE,
				(errmsg("%d of the query's terms were left out, %d count",
						query->nleft_out, ATLAS_MAX_TERMS)));
}

/* A time that no event can have is before all of them or after all. */
void
atlas_first_id(TimestampTz time, pg_uuid_t *id)
{
	if (!atlas_event_id_first(time, id))
		memset(id, time < 0 ? 0 : 0xff, UUID_LEN);
}

/*
 * The end of a period that is a whole millisecond is the bound between two milliseconds: a
 * partition that begins with it need not be opened.
 */
static void
id_of_end(TimestampTz time, pg_uuid_t *id)
{
	if (!atlas_event_id_first(time, id))
		memset(id, time < 0 ? 0 : 0xff, UUID_LEN);
	else if (time % 1000 == 0)
		atlas_event_id_floor(time, id);
}

void
atlas_range_arguments(FunctionCallInfo fcinfo, const AtlasRangeArguments *places,
					  pg_uuid_t *low, pg_uuid_t *high)
{
	memset(low, 0, UUID_LEN);
	memset(high, 0xff, UUID_LEN);
	if (!PG_ARGISNULL(places->since))
		atlas_first_id(PG_GETARG_TIMESTAMPTZ(places->since), low);
	if (!PG_ARGISNULL(places->until))
		id_of_end(PG_GETARG_TIMESTAMPTZ(places->until), high);
	if (places->before_event >= 0 && !PG_ARGISNULL(places->before_event) &&
		atlas_event_id_compare(PG_GETARG_UUID_P(places->before_event), high) < 0)
		*high = *PG_GETARG_UUID_P(places->before_event);
}
