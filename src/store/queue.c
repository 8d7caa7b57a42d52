/*
 * queue.c
 *		The queue: events are added, found, put off, and taken out.
 *
 * The statements here that look for events of any tenant say so: one linker serves all
 * tenants. All others name the tenant.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/statement.h"
#include "store/event_keys.h"
#include "store/queue.h"
#include "store/rows.h"
#include "store/work.h"

int			atlas_event_depth = 0;

enum
{
	QUEUE_EVENT_ID,
	QUEUE_SUBMITTED_XID,
	QUEUE_NEXT_ATTEMPT_AT,
	QUEUE_ATTEMPTS,
	QUEUE_DEPTH,
	QUEUE_TENANT_ID,
	QUEUE_LAST_ERROR
};

/* The columns, as the install script has them. */
static AtlasTable queue_table = {
	.id = ATLAS_EVENT_QUEUE,
	.ncolumns = QUEUE_LAST_ERROR + 1,
	.columns = {
		[QUEUE_EVENT_ID] = {"event_id", UUIDOID},
		[QUEUE_SUBMITTED_XID] = {"submitted_xid", XID8OID},
		[QUEUE_NEXT_ATTEMPT_AT] = {"next_attempt_at", TIMESTAMPTZOID},
		[QUEUE_ATTEMPTS] = {"attempts", INT2OID},
		[QUEUE_DEPTH] = {"depth", INT2OID},
		[QUEUE_TENANT_ID] = {"tenant_id", TEXTOID},
		[QUEUE_LAST_ERROR] = {"last_error", TEXTOID},
	},
};

static AtlasStatement find_queued = {
	.sql =
	"SELECT q.tenant_id, q.event_id, q.submitted_xid, q.attempts,"
	"       COALESCE(q.next_attempt_at OPERATOR(pg_catalog.=) 'infinity', false)"
	"  FROM " ATLAS_KEYS ","
	"       LATERAL (SELECT * FROM @extschema@.atlas_event_queue q"
	"                 WHERE " ATLAS_IS_KEY("q") " OFFSET 0) q"
	" ORDER BY q.event_id, q.tenant_id",
	.nparameters = ATLAS_KEYS_NPARAMETERS,
	.parameters = {ATLAS_KEYS_PARAMETERS},
};

static AtlasStatement delete_queued = {
	.sql =
	"DELETE FROM @extschema@.atlas_event_queue q USING " ATLAS_KEYS
	" WHERE " ATLAS_FINDS_KEY("q"),
	.nparameters = ATLAS_KEYS_NPARAMETERS,
	.parameters = {ATLAS_KEYS_PARAMETERS},
};

static AtlasStatement defer_queued = {
	.sql =
	"UPDATE @extschema@.atlas_event_queue q"
	"   SET next_attempt_at = k.next_attempt_at, last_error = k.last_error"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	"                  pg_catalog.unnest($4)) AS k (tenant_id, event_id, next_attempt_at, last_error)"
	" WHERE " ATLAS_FINDS_KEY("q"),
	.nparameters = 4,
	.parameters = {TEXTARRAYOID, UUIDARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID},
};

/*
 * What is FAILED leaves the cursor. In the place of a transaction id it has a number of its
 * tenant, so that the cursor's index has the FAILED events of a tenant in the order of
 * their ids, for a page of the view atlas_pending_events.
 */
static AtlasStatement fail_queued = {
	.sql =
	"UPDATE @extschema@.atlas_event_queue"
	"   SET attempts = $3, last_error = $4, next_attempt_at = $5,"
	"       submitted_xid = CASE WHEN $5 OPERATOR(pg_catalog.=) 'infinity'"
	"                            THEN (pg_catalog.hashtextextended(tenant_id, 0)"
	"                                  OPERATOR(pg_catalog.&) 9223372036854775807)::pg_catalog.text::pg_catalog.xid8"
	"                            ELSE submitted_xid END"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND event_id OPERATOR(pg_catalog.=) $2",
	.nparameters = 5,
	.parameters = {TEXTOID, UUIDOID, INT2OID, TEXTOID, TIMESTAMPTZOID},
};

/* Of any tenant: whoever repairs the cause repairs it for all of them. */
static AtlasStatement retry_failed = {
	.sql =
	"UPDATE @extschema@.atlas_event_queue"
	"   SET attempts = 0, next_attempt_at = NULL, last_error = NULL,"
	"       submitted_xid = pg_catalog.pg_current_xact_id()"
	" WHERE next_attempt_at OPERATOR(pg_catalog.=) 'infinity' AND submitted_xid OPERATOR(pg_catalog.>=) '0'"
	"   AND ($1 IS NULL OR event_id OPERATOR(pg_catalog.=) $1)",
	.nparameters = 1,
	.parameters = {UUIDOID},
};

/* Of any tenant. */
static AtlasStatement has_work = {
	.sql =
	"SELECT EXISTS (SELECT FROM @extschema@.atlas_event_queue"
	"                WHERE next_attempt_at IS NULL AND submitted_xid OPERATOR(pg_catalog.>=) '0')"
	"    OR EXISTS (SELECT FROM @extschema@.atlas_event_queue"
	"                WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1 AND submitted_xid OPERATOR(pg_catalog.>=) '0')"
	"    OR EXISTS (SELECT FROM @extschema@.atlas_event_unresolved"
	"                WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1)"
	"    OR EXISTS (SELECT FROM @extschema@.atlas_event_work"
	"                WHERE next_attempt_at IS NULL AND submitted_xid OPERATOR(pg_catalog.>=) '0')"
	"    OR EXISTS (SELECT FROM @extschema@.atlas_event_work"
	"                WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1 AND submitted_xid OPERATOR(pg_catalog.>=) '0')"
	"    OR EXISTS (SELECT FROM @extschema@.atlas_rules WHERE is_enabled AND since IS NULL)"
	"    OR EXISTS (SELECT FROM @extschema@.atlas_rule_actions WHERE next_attempt_at IS NULL)"
	"    OR EXISTS (SELECT FROM @extschema@.atlas_rule_actions"
	"                WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1)"
	"    OR ($2 AND EXISTS (SELECT FROM @extschema@.atlas_search_rebuild WHERE finished_at IS NULL))",
	.nparameters = 2,
	.parameters = {TIMESTAMPTZOID, BOOLOID},
};

/* Of any tenant. */
static AtlasStatement next_due = {
	.sql =
	"SELECT LEAST((SELECT pg_catalog.min(next_attempt_at) FROM @extschema@.atlas_event_queue"
	"               WHERE next_attempt_at IS NOT NULL AND submitted_xid OPERATOR(pg_catalog.>=) '0'),"
	"             (SELECT pg_catalog.min(next_attempt_at) FROM @extschema@.atlas_event_unresolved"
	"               WHERE next_attempt_at IS NOT NULL),"
	"             (SELECT pg_catalog.min(next_attempt_at) FROM @extschema@.atlas_event_work"
	"               WHERE next_attempt_at IS NOT NULL AND submitted_xid OPERATOR(pg_catalog.>=) '0'),"
	"             (SELECT pg_catalog.min(next_attempt_at) FROM @extschema@.atlas_rule_actions"
	"               WHERE next_attempt_at IS NOT NULL))",
};

/* ----- Adding and finding ----- */

void
atlas_queue_rows_init(AtlasRows *rows, int size)
{
	atlas_rows_init(rows, &queue_table, size);
}

void
atlas_queue_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const text *tenant, uint64 xid)
{
	atlas_rows_add(rows);
	atlas_rows_set_pointer(rows, QUEUE_EVENT_ID, event_id);
	atlas_rows_set(rows, QUEUE_SUBMITTED_XID, UInt64GetDatum(xid));
	atlas_rows_set(rows, QUEUE_ATTEMPTS, Int16GetDatum(0));
	atlas_rows_set(rows, QUEUE_DEPTH, Int16GetDatum(atlas_event_depth));
	atlas_rows_set_pointer(rows, QUEUE_TENANT_ID, tenant);
}

int
atlas_queue_find(const AtlasEventKey *keys, int nkeys, AtlasQueued *queued)
{
	Datum		values[ATLAS_KEYS_NPARAMETERS];
	bool		isnull;

	atlas_event_keys_values(keys, nkeys, values);
	(void) atlas_execute(&find_queued, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;

		queued[i].key.tenant = atlas_result_text(row, tupdesc, 1);
		queued[i].key.id = *DatumGetUUIDP(SPI_getbinval(row, tupdesc, 2, &isnull));
		queued[i].submitted_xid = DatumGetUInt64(SPI_getbinval(row, tupdesc, 3, &isnull));
		queued[i].attempts = DatumGetInt16(SPI_getbinval(row, tupdesc, 4, &isnull));
		queued[i].is_failed = DatumGetBool(SPI_getbinval(row, tupdesc, 5, &isnull));
	}
	return (int) SPI_processed;
}

/* ----- Putting off and taking out ----- */

void
atlas_queue_remove(const AtlasEventKey *keys, int nkeys)
{
	ItemPointerData *places = palloc(sizeof(ItemPointerData) * Max(nkeys, 1));
	int		   *left = palloc(sizeof(int) * Max(nkeys, 1));
	AtlasEventKey *keys_left = palloc(sizeof(AtlasEventKey) * Max(nkeys, 1));
	int			nleft;
	Datum		values[ATLAS_KEYS_NPARAMETERS];

	if (nkeys == 0)
		return;
	for (int i = 0; i < nkeys; i++)
		places[i] = keys[i].place;
	nleft = atlas_rows_delete(&queue_table, places, nkeys, left);
	if (nleft == 0)
		return;
	for (int i = 0; i < nleft; i++)
		keys_left[i] = keys[left[i]];
	atlas_event_keys_values(keys_left, nleft, values);
	(void) atlas_execute(&delete_queued, values, NULL, false, 0);
}

void
atlas_deferrals_init(AtlasDeferrals *deferrals, int size)
{
	atlas_column_init(&deferrals->tenants, size);
	atlas_column_init(&deferrals->ids, size);
	atlas_column_init(&deferrals->times, size);
	atlas_column_init(&deferrals->reasons, size);
}

void
atlas_deferrals_add(AtlasDeferrals *deferrals, const AtlasEventKey *key, TimestampTz until,
					const char *reason)
{
	atlas_column_add_pointer(&deferrals->tenants, key->tenant);
	atlas_column_add(&deferrals->ids, UUIDPGetDatum(&key->id));
	atlas_column_add(&deferrals->times, TimestampTzGetDatum(until));
	atlas_column_add(&deferrals->reasons, CStringGetTextDatum(reason));
}

void
atlas_queue_defer(const AtlasDeferrals *deferrals)
{
	Datum		values[4];

	values[0] = atlas_column_array(&deferrals->tenants, TEXTOID);
	values[1] = atlas_column_array(&deferrals->ids, UUIDOID);
	values[2] = atlas_column_array(&deferrals->times, TIMESTAMPTZOID);
	values[3] = atlas_column_array(&deferrals->reasons, TEXTOID);
	(void) atlas_execute(&defer_queued, values, NULL, false, 0);
}

void
atlas_queue_note_failure(const AtlasEventKey *key, int attempts, const char *message,
						 TimestampTz next_attempt_at)
{
	Datum		values[5];

	values[0] = PointerGetDatum(key->tenant);
	values[1] = UUIDPGetDatum(&key->id);
	values[2] = Int16GetDatum(attempts);
	values[3] = CStringGetTextDatum(message);
	values[4] = TimestampTzGetDatum(next_attempt_at);
	(void) atlas_execute(&fail_queued, values, NULL, false, 0);
}

uint64
atlas_queue_retry_failed(const pg_uuid_t *id)
{
	Datum		value = UUIDPGetDatum(id);

	return atlas_execute(&retry_failed, &value, id == NULL ? "n" : " ", false, 0);
}

/* ----- What is there to do ----- */

bool
atlas_queue_has_work(void)
{
	Datum		values[2];
	bool		isnull;

	values[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[1] = BoolGetDatum(atlas_search);
	(void) atlas_execute(&has_work, values, NULL, false, 0);
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

TimestampTz
atlas_queue_next_due(void)
{
	Datum		value;
	bool		isnull;

	(void) atlas_execute(&next_due, NULL, NULL, false, 0);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? DT_NOEND : DatumGetTimestampTz(value);
}
