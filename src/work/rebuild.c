/*
 * rebuild.c
 *		Making documents anew, at the request of atlas_rebuild_search().
 *
 *	request: a row of atlas_search_rebuild ─► wait for older transactions ─► the log,
 *	partition by partition, the newest first, by (tenant_id, event_id) ─► rows of the work table
 *	─► documents, by the second step of the linker
 *
 * The documents are made by the second step like any others, and with its blame: an event
 * that cannot be indexed, or kills the linker, is found in the same way. Each step here
 * writes rows for a batch of events and notes its place in the same transaction. So after a
 * restart or a kill it goes on where it was, and nothing is left out.
 *
 * What was noted about missing documents is taken back by the request, so that events that are
 * stored without one from then on are noted anew. A transaction that was under way then may have relied on
 * the old note, and the log does not show its events before it has ended. So the linker waits for
 * all transactions that have an id by the time it sees the request: see search_gap.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/extension.h"
#include "base/statement.h"
#include "store/event_keys.h"
#include "store/partitions.h"
#include "store/search_gap.h"
#include "store/work.h"
#include "work/rebuild.h"

/* A request that covers one that is not finished yet begins anew, for both. */
static AtlasStatement upsert_rebuild = {
	.sql =
	"INSERT INTO @extschema@.atlas_search_rebuild AS r (since, requested_at)"
	" VALUES ($1, pg_catalog.clock_timestamp())"
	"    ON CONFLICT (id) DO UPDATE"
	"   SET since = CASE WHEN r.finished_at IS NULL THEN LEAST(r.since, EXCLUDED.since) ELSE EXCLUDED.since END,"
	"       requested_at = EXCLUDED.requested_at, started_at = NULL, finished_at = NULL, wait_for_xid = NULL,"
	"       before_event = NULL, position_tenant = NULL, position_event = NULL, documents = 0",
	.nparameters = 1,
	.parameters = {TIMESTAMPTZOID},
};

static AtlasStatement is_due = {
	.sql = "SELECT FROM @extschema@.atlas_search_rebuild WHERE finished_at IS NULL",
};

/* While somebody asks for another one, this one waits. */
static AtlasStatement select_rebuild = {
	.sql =
	"SELECT since, wait_for_xid, before_event, position_tenant, position_event"
	"  FROM @extschema@.atlas_search_rebuild"
	" WHERE finished_at IS NULL FOR UPDATE SKIP LOCKED",
};

static AtlasStatement note_wait = {
	.sql = "UPDATE @extschema@.atlas_search_rebuild SET wait_for_xid = $1",
	.nparameters = 1,
	.parameters = {XID8OID},
};

static AtlasStatement note_position = {
	.sql =
	"UPDATE @extschema@.atlas_search_rebuild"
	"   SET before_event = $1, position_tenant = $2, position_event = $3,"
	"       documents = documents OPERATOR(pg_catalog.+) $4,"
	"       started_at = COALESCE(started_at, pg_catalog.clock_timestamp())",
	.nparameters = 4,
	.parameters = {UUIDOID, TEXTOID, UUIDOID, INT8OID},
};

static AtlasStatement note_end = {
	.sql =
	"UPDATE @extschema@.atlas_search_rebuild"
	"   SET started_at = COALESCE(started_at, pg_catalog.clock_timestamp()), finished_at = pg_catalog.clock_timestamp()",
};

/* Of all tenants. Index Cond on the primary key of the one partition that has the range. */
static AtlasStatement select_next = {
	.sql =
	"SELECT e.tenant_id, e.event_id"
	"  FROM @extschema@.atlas_events e"
	" WHERE (e.tenant_id, e.event_id) OPERATOR(pg_catalog.>) ($1, $2)"
	"   AND e.event_id OPERATOR(pg_catalog.>=) $3 AND e.event_id OPERATOR(pg_catalog.<) $4"
	" ORDER BY e.tenant_id, e.event_id"
	" LIMIT $5",
	.nparameters = 5,
	.parameters = {TEXTOID, UUIDOID, UUIDOID, UUIDOID, INT8OID},
};

/* How far it has come. */
typedef struct Rebuild
{
	TimestampTz since;
	pg_uuid_t	first;			/* the smallest id of that time */
	uint64		wait_for_xid;	/* 0: not known yet */
	pg_uuid_t	before;			/* events from here on are done */
	text	   *tenant;			/* behind this event in the partition below; NULL: at its beginning */
	pg_uuid_t	event_id;
} Rebuild;

/* ----- Asking for it ----- */

void
atlas_rebuild_request(TimestampTz since)
{
	Datum		value = TimestampTzGetDatum(since);

	(void) atlas_execute(&upsert_rebuild, &value, NULL, false, 0);
	atlas_search_gap_close(since);
}

bool
atlas_rebuild_is_due(void)
{
	return atlas_search && atlas_execute(&is_due, NULL, NULL, true, 1) > 0;
}

/* ----- Going on with it ----- */

/* Reads how far it has come; false if there is none, or somebody else has it. */
static bool
read_rebuild(Rebuild *rebuild)
{
	HeapTuple	row;
	TupleDesc	tupdesc;
	bool		isnull;
	Datum		value;

	memset(rebuild, 0, sizeof(*rebuild));
	if (atlas_execute(&select_rebuild, NULL, NULL, false, 1) == 0)
		return false;
	row = SPI_tuptable->vals[0];
	tupdesc = SPI_tuptable->tupdesc;
	rebuild->since = DatumGetTimestampTz(SPI_getbinval(row, tupdesc, 1, &isnull));
	(void) atlas_event_id_first(rebuild->since, &rebuild->first);
	value = SPI_getbinval(row, tupdesc, 2, &isnull);
	rebuild->wait_for_xid = isnull ? 0 : DatumGetUInt64(value);
	value = SPI_getbinval(row, tupdesc, 3, &isnull);
	if (isnull)
		memset(&rebuild->before, 0xff, sizeof(pg_uuid_t));
	else
		rebuild->before = *DatumGetUUIDP(value);
	rebuild->tenant = atlas_result_text(row, tupdesc, 4);
	value = SPI_getbinval(row, tupdesc, 5, &isnull);
	if (!isnull)
		rebuild->event_id = *DatumGetUUIDP(value);
	return true;
}

/*
 * Is it known for which transactions to wait? The ids of another server, from which the row
 * may have come, mean nothing here.
 */
static bool
knows_wait(const Rebuild *rebuild)
{
	return rebuild->wait_for_xid != 0 &&
		rebuild->wait_for_xid <= U64FromFullTransactionId(ReadNextFullTransactionId());
}

/*
 * Notes for which transactions to wait. What a commit has changed is visible a moment before other
 * sessions are told that what was noted is taken back, and the lock of the request is held
 * until then. Returns false if it is held still.
 */
static bool
note_what_to_wait_for(void)
{
	Datum		value;

	if (!ConditionalLockRelationOid(atlas_relation(ATLAS_SEARCH_REBUILD), ShareLock))
		return false;
	value = UInt64GetDatum(U64FromFullTransactionId(ReadNextFullTransactionId()));
	(void) atlas_execute(&note_wait, &value, NULL, false, 0);
	return true;
}

/*
 * Have the transactions ended whose events could be missed? This one has an id that is later. None
 * that is so old that its id could be taken for a later one is under way.
 */
static bool
others_have_ended(const Rebuild *rebuild)
{
	uint64		age = U64FromFullTransactionId(ReadNextFullTransactionId()) - rebuild->wait_for_xid;

	return age > PG_INT32_MAX ||
		!TransactionIdPrecedes(GetLatestSnapshot()->xmin, (TransactionId) rebuild->wait_for_xid);
}

/* The events from this id on are done. A place in their partition means nothing in the one below. */
static void
finish_range(Rebuild *rebuild, const pg_uuid_t *low)
{
	rebuild->before = *low;
	rebuild->tenant = NULL;
	memset(&rebuild->event_id, 0, sizeof(pg_uuid_t));
}

/*
 * Finds the range to go on in: the part of a partition that is not done. Skips gaps. Returns
 * false if nothing is left. The partition in which it was may have been dropped.
 */
static bool
next_range(Rebuild *rebuild, pg_uuid_t *low)
{
	Relation	log = table_open(atlas_relation(ATLAS_EVENTS), AccessShareLock);
	AtlasIdRange range;
	bool		found = false;

	while (!found && atlas_event_id_compare(&rebuild->before, &rebuild->first) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		found = OidIsValid(atlas_partition_below(log, &rebuild->before, &range));
		*low = range.bounded_low && atlas_event_id_compare(&range.low, &rebuild->first) > 0 ?
			range.low : rebuild->first;
		if (!found)
			finish_range(rebuild, low);
	}
	table_close(log, NoLock);
	return found;
}

/* Writes rows for the events behind the position, and returns how many; the last one is the new position. */
static int
write_rows(Rebuild *rebuild, const pg_uuid_t *low, int limit)
{
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());
	text	   *no_tenant = cstring_to_text("");
	Datum		values[5];
	AtlasEventKey *keys;
	AtlasRows	rows;
	int			nkeys;

	values[0] = PointerGetDatum(rebuild->tenant != NULL ? rebuild->tenant : no_tenant);
	values[1] = UUIDPGetDatum(&rebuild->event_id);
	values[2] = UUIDPGetDatum(low);
	values[3] = UUIDPGetDatum(&rebuild->before);
	values[4] = Int64GetDatum(limit);
	nkeys = (int) atlas_execute(&select_next, values, NULL, false, 0);
	keys = palloc(sizeof(AtlasEventKey) * Max(nkeys, 1));
	atlas_event_keys_take(keys, 1, 2);
	atlas_work_rows_init(&rows, nkeys);
	for (int i = 0; i < nkeys; i++)
		atlas_work_rows_add(&rows, &keys[i].id, keys[i].tenant, xid, 0,
							ATLAS_WORK_DOCUMENT | ATLAS_WORK_REPLACE);
	atlas_rows_write(&rows);
	if (nkeys > 0)
	{
		rebuild->tenant = keys[nkeys - 1].tenant;
		rebuild->event_id = keys[nkeys - 1].id;
	}
	return nkeys;
}

/* Notes how far it has come now. */
static void
write_position(const Rebuild *rebuild, int nevents)
{
	Datum		values[4];
	const char *nulls = rebuild->tenant == NULL ? " nn " : "    ";

	values[0] = UUIDPGetDatum(&rebuild->before);
	values[1] = PointerGetDatum(rebuild->tenant);
	values[2] = UUIDPGetDatum(&rebuild->event_id);
	values[3] = Int64GetDatum(nevents);
	(void) atlas_execute(&note_position, values, nulls, false, 0);
}

bool
atlas_rebuild_step(int limit)
{
	Rebuild		rebuild;
	pg_uuid_t	low;
	int			nevents;

	if (!read_rebuild(&rebuild))
		return false;
	if (!knows_wait(&rebuild))
		return note_what_to_wait_for();
	if (!others_have_ended(&rebuild))
		return false;
	if (!next_range(&rebuild, &low))
	{
		(void) atlas_execute(&note_end, NULL, NULL, false, 0);
		return false;
	}
	nevents = write_rows(&rebuild, &low, limit);
	if (nevents < limit)
		finish_range(&rebuild, &low);
	write_position(&rebuild, nevents);
	return true;
}
