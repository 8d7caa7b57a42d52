/*
 * timeline.c
 *		atlas_timeline(): the events of an object, newest first.
 *
 * An object is the primary one of some events and a related one of others. Both lists are
 * read by index from the newest partition on, no further than a page, and merged. The
 * statement runs as the owner of the extension, so that a reader needs nothing but EXECUTE
 * on the function. The tenant is that of the session.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "base/identity.h"
#include "base/statement.h"
#include "base/tenant.h"
#include "event/validation.h"
#include "objects/lookup.h"
#include "objects/registry.h"

#define TIMELINE_NCOLUMNS 11

/* The plan is an Index Scan Backward on both tables, with Append in order of the partitions. */
static AtlasStatement select_timeline = {
	.sql =
	"SELECT e.event_id, e.occurred_at, t.role, e.name, e.description, e.icon, e.payload,"
	"       e.object_type, e.object_id, e.external_id,"
	"       CASE WHEN q.event_id IS NULL THEN 'LINKED'"
	"            WHEN q.next_attempt_at OPERATOR(pg_catalog.=) 'infinity' THEN 'FAILED'"
	"            ELSE 'PENDING' END"
	"  FROM ((SELECT p.event_id, 'PRIMARY' AS role"
	"           FROM @extschema@.atlas_events p"
	"          WHERE p.tenant_id OPERATOR(pg_catalog.=) $1"
	"            AND p.object_type OPERATOR(pg_catalog.=) $2"
	"            AND p.object_id OPERATOR(pg_catalog.=) $3"
	"            AND p.event_id OPERATOR(pg_catalog.<) $4"
	"          ORDER BY p.event_id DESC LIMIT $5)"
	"        UNION ALL"
	"        (SELECT l.event_id, 'RELATED' AS role"
	"           FROM @extschema@.atlas_event_links l"
	"          WHERE l.tenant_id OPERATOR(pg_catalog.=) $1"
	"            AND l.object_type OPERATOR(pg_catalog.=) $2"
	"            AND l.object_id OPERATOR(pg_catalog.=) $3"
	"            AND l.event_id OPERATOR(pg_catalog.<) $4"
	"          ORDER BY l.event_id DESC LIMIT $5)"
	"        ORDER BY event_id DESC LIMIT $5) t,"
	"       LATERAL (SELECT * FROM @extschema@.atlas_events e"
	"                 WHERE e.tenant_id OPERATOR(pg_catalog.=) $1"
	"                   AND e.event_id OPERATOR(pg_catalog.=) t.event_id OFFSET 0) e"
	"       LEFT JOIN @extschema@.atlas_event_queue q"
	"              ON q.tenant_id OPERATOR(pg_catalog.=) $1"
	"             AND q.event_id OPERATOR(pg_catalog.=) e.event_id"
	" ORDER BY t.event_id DESC",
	.nparameters = 5,
	.parameters = {TEXTOID, TEXTOID, TEXTOID, UUIDOID, INT8OID},
};

PG_FUNCTION_INFO_V1(atlas_timeline);

/* The object type of this name; an error when there is none. */
static AtlasObjectType *
type_argument(const text *given)
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

/* Refuses a call without this argument, in the words of the Events API. */
static void
require_field(bool given, const char *field, const char *message)
{
	AtlasError	error = {0};

	if (given)
		return;
	atlas_add_problem(&error, "required", pstrdup(field), "%s", message);
	atlas_raise(&error);
}

/* Returns the rows of the statement. */
static void
put_timeline(ReturnSetInfo *result)
{
	Datum		values[TIMELINE_NCOLUMNS];
	bool		nulls[TIMELINE_NCOLUMNS];

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < TIMELINE_NCOLUMNS; i++)
			values[i] = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, i + 1,
									  &nulls[i]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/*
 * Without before_event the page begins with the newest event, whose id is below the
 * largest uuid.
 */
Datum
atlas_timeline(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			max_events = PG_ARGISNULL(3) ? 50 : PG_GETARG_INT32(3);
	AtlasObjectType *type;
	pg_uuid_t	newest;
	Datum		values[5];
	AtlasIdentity saved;

	require_field(!PG_ARGISNULL(0), "/objectType", "objectType is required");
	require_field(!PG_ARGISNULL(1), "/objectId", "objectId is required");
	if (max_events < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_events must be at least 1")));
	InitMaterializedSRF(fcinfo, 0);

	memset(&newest, 0xff, sizeof(newest));
	values[0] = PointerGetDatum(atlas_session_tenant());
	type = type_argument(PG_GETARG_TEXT_PP(0));
	values[1] = CStringGetTextDatum(type->name);
	values[2] = PointerGetDatum(atlas_stored_id(type, PG_GETARG_TEXT_PP(1)));
	values[3] = PG_ARGISNULL(2) ? UUIDPGetDatum(&newest) : PG_GETARG_DATUM(2);
	values[4] = Int64GetDatum(max_events);

	SPI_connect();
	atlas_become_owner(&saved);
	(void) atlas_execute(&select_timeline, values, NULL, true, 0);
	put_timeline(result);
	atlas_return(&saved);
	SPI_finish();
	return (Datum) 0;
}
