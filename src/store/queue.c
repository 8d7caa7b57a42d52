/*
 * queue.c
 *		The queue: events are added, claimed without reading what is dead, put off,
 *		and taken out.
 *
 * A long-running snapshot keeps the rows that were removed from the queue from
 * being vacuumed, so "the first rows of the queue" get ever more expensive to
 * find. The linker therefore remembers where it was. Event ids are no use for that,
 * because transactions do not commit in the order in which they write. The transaction
 * ids in the queue are: whatever was not visible to a snapshot was written by a
 * transaction that was in progress then, or began later.
 *
 * So a pass first goes through the transactions that the snapshot of the pass
 * before had in progress, then through all from its xmax to that of its own, each
 * in order of (submitted_xid, event_id), which is the order of the index. Rows that
 * came by a restore or from another server have foreign transaction ids, and locked
 * rows are skipped. Sweeps over the whole queue find both.
 *
 * Claimed rows are locked with FOR UPDATE SKIP LOCKED: several linkers and
 * sessions can work side by side.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "base/arrays.h"
#include "base/statement.h"
#include "store/queue.h"
#include "store/rows.h"

enum
{
	QUEUE_EVENT_ID,
	QUEUE_SUBMITTED_XID,
	QUEUE_NEXT_ATTEMPT_AT,
	QUEUE_ATTEMPTS,
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
		[QUEUE_TENANT_ID] = {"tenant_id", TEXTOID},
		[QUEUE_LAST_ERROR] = {"last_error", TEXTOID},
	},
};

static AtlasStatement find_queued = {
	.sql =
	"SELECT event_id, submitted_xid, attempts,"
	"       COALESCE(next_attempt_at OPERATOR(pg_catalog.=) 'infinity', false)"
	"  FROM @extschema@.atlas_event_queue"
	" WHERE event_id OPERATOR(pg_catalog.=) ANY ($1)"
	" ORDER BY event_id",
	.nparameters = 1,
	.parameters = {UUIDARRAYOID},
};

/*
 * Index Cond on atlas_event_queue_cursor_idx, no sort. That index is for statements
 * only that compare submitted_xid, like this one and those below.
 */
static AtlasStatement claim_range = {
	.sql =
	"SELECT event_id, submitted_xid"
	"  FROM @extschema@.atlas_event_queue"
	" WHERE next_attempt_at IS NULL"
	"   AND (submitted_xid, event_id) OPERATOR(pg_catalog.>) ($1, $2)"
	"   AND submitted_xid OPERATOR(pg_catalog.<=) $3"
	" ORDER BY next_attempt_at, submitted_xid, event_id"
	" LIMIT $4"
	"   FOR UPDATE SKIP LOCKED",
	.nparameters = 4,
	.parameters = {XID8OID, UUIDOID, XID8OID, INT8OID},
};

/*
 * Which of these transactions have events in the queue. LIMIT keeps it a lookup for
 * each of them: a join could read the whole queue.
 */
static AtlasStatement find_unfinished = {
	.sql =
	"SELECT x"
	"  FROM pg_catalog.unnest($1) AS x,"
	"       LATERAL (SELECT FROM @extschema@.atlas_event_queue q"
	"                 WHERE q.next_attempt_at IS NULL"
	"                   AND q.submitted_xid OPERATOR(pg_catalog.=) x"
	"                 LIMIT 1) AS found"
	" ORDER BY x",
	.nparameters = 1,
	.parameters = {XID8ARRAYOID},
};

/*
 * Is there an event that the pass before must have seen, and did not get? Its
 * transaction had ended when that pass began.
 */
static AtlasStatement find_left = {
	.sql =
	"SELECT EXISTS (SELECT FROM @extschema@.atlas_event_queue q"
	"                WHERE q.next_attempt_at IS NULL"
	"                  AND q.submitted_xid OPERATOR(pg_catalog.>=) $1"
	"                  AND q.submitted_xid OPERATOR(pg_catalog.<) $2"
	"                  AND q.submitted_xid OPERATOR(pg_catalog.<>) ALL ($3))"
	"    OR EXISTS (SELECT"
	"                 FROM pg_catalog.unnest($4) AS x,"
	"                      LATERAL (SELECT FROM @extschema@.atlas_event_queue q"
	"                                WHERE q.next_attempt_at IS NULL"
	"                                  AND q.submitted_xid OPERATOR(pg_catalog.=) x"
	"                                LIMIT 1) AS found"
	"                WHERE x OPERATOR(pg_catalog.<>) ALL ($3))",
	.nparameters = 4,
	.parameters = {XID8OID, XID8OID, XID8ARRAYOID, XID8ARRAYOID},
};

/* Index Cond on the same index. */
static AtlasStatement claim_due = {
	.sql =
	"SELECT event_id"
	"  FROM @extschema@.atlas_event_queue"
	" WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1 AND submitted_xid OPERATOR(pg_catalog.>=) '0'"
	" ORDER BY next_attempt_at"
	" LIMIT $2"
	"   FOR UPDATE SKIP LOCKED",
	.nparameters = 2,
	.parameters = {TIMESTAMPTZOID, INT8OID},
};

static AtlasStatement claim_again = {
	.sql =
	"SELECT event_id"
	"  FROM @extschema@.atlas_event_queue"
	" WHERE event_id OPERATOR(pg_catalog.=) ANY ($1)"
	"   AND (next_attempt_at IS NULL OR next_attempt_at OPERATOR(pg_catalog.<>) 'infinity')"
	"   FOR UPDATE SKIP LOCKED",
	.nparameters = 1,
	.parameters = {UUIDARRAYOID},
};

static AtlasStatement delete_queued = {
	.sql =
	"DELETE FROM @extschema@.atlas_event_queue WHERE event_id OPERATOR(pg_catalog.=) ANY ($1)",
	.nparameters = 1,
	.parameters = {UUIDARRAYOID},
};

static AtlasStatement defer_queued = {
	.sql =
	"UPDATE @extschema@.atlas_event_queue q"
	"   SET next_attempt_at = d.next_attempt_at, last_error = d.last_error"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	"       AS d (event_id, next_attempt_at, last_error)"
	" WHERE q.event_id OPERATOR(pg_catalog.=) d.event_id",
	.nparameters = 3,
	.parameters = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID},
};

static AtlasStatement fail_queued = {
	.sql =
	"UPDATE @extschema@.atlas_event_queue"
	"   SET attempts = $2, last_error = $3, next_attempt_at = $4"
	" WHERE event_id OPERATOR(pg_catalog.=) $1",
	.nparameters = 4,
	.parameters = {UUIDOID, INT2OID, TEXTOID, TIMESTAMPTZOID},
};

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

static AtlasStatement has_work = {
	.sql =
	"SELECT EXISTS (SELECT FROM @extschema@.atlas_event_queue"
	"                WHERE next_attempt_at IS NULL AND submitted_xid OPERATOR(pg_catalog.>=) '0')"
	"    OR EXISTS (SELECT FROM @extschema@.atlas_event_queue"
	"                WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1 AND submitted_xid OPERATOR(pg_catalog.>=) '0')"
	"    OR EXISTS (SELECT FROM @extschema@.atlas_event_unresolved"
	"                WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1)",
	.nparameters = 1,
	.parameters = {TIMESTAMPTZOID},
};

static AtlasStatement next_due = {
	.sql =
	"SELECT LEAST((SELECT pg_catalog.min(next_attempt_at) FROM @extschema@.atlas_event_queue"
	"               WHERE next_attempt_at IS NOT NULL AND submitted_xid OPERATOR(pg_catalog.>=) '0'),"
	"             (SELECT pg_catalog.min(next_attempt_at) FROM @extschema@.atlas_event_unresolved"
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
	atlas_rows_set_pointer(rows, QUEUE_TENANT_ID, tenant);
}

int
atlas_queue_find(const pg_uuid_t *ids, int nids, AtlasQueued *queued)
{
	Datum		value = atlas_uuid_array(ids, nids);
	bool		isnull;

	(void) atlas_execute(&find_queued, &value, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;

		queued[i].event_id = *DatumGetUUIDP(SPI_getbinval(row, tupdesc, 1, &isnull));
		queued[i].submitted_xid = DatumGetUInt64(SPI_getbinval(row, tupdesc, 2, &isnull));
		queued[i].attempts = DatumGetInt16(SPI_getbinval(row, tupdesc, 3, &isnull));
		queued[i].is_failed = DatumGetBool(SPI_getbinval(row, tupdesc, 4, &isnull));
	}
	return (int) SPI_processed;
}

/* ----- Claiming ----- */

/* A transaction id of a snapshot with its epoch; it is older than the next. */
static uint64
widen_xid(TransactionId xid, FullTransactionId next)
{
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

/* Notes what is in progress now, for the next pass to begin with. */
static void
take_snapshot(AtlasCursor *cursor)
{
	Snapshot	snapshot = GetLatestSnapshot();
	FullTransactionId next = ReadNextFullTransactionId();

	cursor->next_xid = widen_xid(snapshot->xmax, next);
	cursor->nnext_unfinished = snapshot->xcnt;
	cursor->next_unfinished = MemoryContextAlloc(cursor->context,
												 sizeof(uint64) * Max(snapshot->xcnt, 1));
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		cursor->next_unfinished[i] = widen_xid(snapshot->xip[i], next);
}

/* Transaction ids as a parameter of a statement. */
static Datum
xid_array(const uint64 *xids, int nxids)
{
	AtlasColumn column;

	atlas_column_init(&column, nxids);
	for (int i = 0; i < nxids; i++)
		atlas_column_add(&column, UInt64GetDatum(xids[i]));
	return atlas_column_array(&column, XID8OID);
}

/* Moves to the beginning of a transaction, or of the range of them. */
static void
enter_range(AtlasCursor *cursor)
{
	cursor->position_xid = cursor->current < cursor->nunfinished ?
		cursor->unfinished[cursor->current] : cursor->first_xid;
	memset(&cursor->position_id, 0, sizeof(pg_uuid_t));
}

/* Begins a pass: it goes as far as the snapshot that is taken now. */
static void
begin_pass(AtlasCursor *cursor)
{
	bool		isnull;

	if (cursor->sweep_next)
	{
		cursor->first_xid = 0;
		cursor->nunfinished = 0;
		cursor->sweep_next = false;
	}
	take_snapshot(cursor);
	/* A sweep goes to the end: foreign transaction ids may lie anywhere. */
	cursor->last_xid = cursor->first_xid == 0 ? PG_UINT64_MAX : cursor->next_xid - 1;
	if (cursor->nunfinished > 0)
	{
		Datum		value = xid_array(cursor->unfinished, cursor->nunfinished);

		/* Of those that have ended, most wrote nothing to the queue. */
		cursor->nunfinished = (int) atlas_execute(&find_unfinished, &value, NULL, false, 0);
		for (int i = 0; i < cursor->nunfinished; i++)
			cursor->unfinished[i] = DatumGetUInt64(SPI_getbinval(SPI_tuptable->vals[i],
																 SPI_tuptable->tupdesc, 1, &isnull));
	}
	cursor->current = 0;
	cursor->in_pass = true;
	enter_range(cursor);
}

/* Remembers what this pass has seen, for the next one to go on from there. */
static void
end_pass(AtlasCursor *cursor)
{
	if (cursor->previous_unfinished != NULL)
		pfree(cursor->previous_unfinished);
	cursor->previous_seen = false;
	cursor->previous_xid = cursor->first_xid;
	cursor->previous_unfinished = cursor->unfinished;
	cursor->nprevious_unfinished = cursor->nunfinished;
	cursor->first_xid = cursor->next_xid;
	cursor->unfinished = cursor->next_unfinished;
	cursor->nunfinished = cursor->nnext_unfinished;
	cursor->next_unfinished = NULL;
	cursor->nnext_unfinished = 0;
	cursor->in_pass = false;
}

bool
atlas_queue_left_some(AtlasCursor *cursor)
{
	Datum		values[4];
	bool		isnull;

	/* The rows that a pass has linked are dead now, and are not to be read again and again. */
	if (cursor->previous_seen)
		return cursor->left_some;

	values[0] = UInt64GetDatum(cursor->previous_xid);
	values[1] = UInt64GetDatum(cursor->first_xid);
	values[2] = xid_array(cursor->unfinished, cursor->nunfinished);
	values[3] = xid_array(cursor->previous_unfinished, cursor->nprevious_unfinished);
	(void) atlas_execute(&find_left, values, NULL, false, 0);
	cursor->left_some = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
												   1, &isnull));
	cursor->previous_seen = true;
	return cursor->left_some;
}

/* Copies the ids of the rows found; the second column may be the position. */
static int
take_ids(pg_uuid_t *ids)
{
	bool		isnull;

	for (uint64 i = 0; i < SPI_processed; i++)
		ids[i] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
											  1, &isnull));
	return (int) SPI_processed;
}

/* Claims from the range that the cursor is in, and moves on in it. */
static int
claim_from_range(AtlasCursor *cursor, int limit, pg_uuid_t *ids)
{
	Datum		values[4];
	bool		isnull;
	int			nclaimed;

	values[0] = UInt64GetDatum(cursor->position_xid);
	values[1] = UUIDPGetDatum(&cursor->position_id);
	values[2] = UInt64GetDatum(cursor->current < cursor->nunfinished ?
							   cursor->unfinished[cursor->current] : cursor->last_xid);
	values[3] = Int64GetDatum(limit);
	nclaimed = (int) atlas_execute(&claim_range, values, NULL, false, 0);
	if (nclaimed == 0)
		return 0;

	(void) take_ids(ids);
	cursor->position_id = ids[nclaimed - 1];
	cursor->position_xid = DatumGetUInt64(SPI_getbinval(SPI_tuptable->vals[nclaimed - 1],
														SPI_tuptable->tupdesc, 2, &isnull));
	return nclaimed;
}

/*
 * Claims up to limit events that are due at once, and locks their rows in the queue.
 * Fewer than limit: the pass is over.
 */
static int
claim_new(AtlasCursor *cursor, int limit, pg_uuid_t *ids)
{
	int			nclaimed = 0;

	if (!cursor->in_pass)
		begin_pass(cursor);
	for (;;)
	{
		nclaimed += claim_from_range(cursor, limit - nclaimed, ids + nclaimed);
		if (nclaimed == limit)
			return nclaimed;
		if (cursor->current >= cursor->nunfinished)
			break;
		cursor->current++;
		enter_range(cursor);
	}
	end_pass(cursor);
	return nclaimed;
}

/* Claims up to limit events whose time for another attempt has come. */
static int
claim_again_due(int limit, pg_uuid_t *ids)
{
	Datum		values[2];

	values[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[1] = Int64GetDatum(limit);
	(void) atlas_execute(&claim_due, values, NULL, false, 0);
	return take_ids(ids);
}

int
atlas_queue_claim_batch(AtlasCursor *cursor, int limit, pg_uuid_t *ids)
{
	/* Events that were put off get a share, however many new ones there are. */
	int			share = limit > 1 ? Max(limit / 10, 1) : 0;
	int			ndue = claim_again_due(share, ids);
	int			nnew = claim_new(cursor, limit - ndue, ids + ndue);

	if (ndue < share || ndue + nnew == limit)
		return ndue + nnew;

	/* They also get the room that is left. Those of the share are claimed once more with it. */
	memmove(ids, ids + ndue, sizeof(pg_uuid_t) * nnew);
	return nnew + claim_again_due(limit - nnew, ids + nnew);
}

int
atlas_queue_claim_again(pg_uuid_t *ids, int nids)
{
	Datum		value = atlas_uuid_array(ids, nids);

	(void) atlas_execute(&claim_again, &value, NULL, false, 0);
	return take_ids(ids);
}

/*
 * Does a transaction hold the lock on its id? It does until it has ended, and lets
 * go of it after it has told the other sessions what it changed. A foreign transaction
 * id may be any number.
 */
static bool
is_ending(uint64 xid)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	LOCKTAG		tag;

	if (xid >= next || next - xid > PG_INT32_MAX ||
		!TransactionIdIsNormal((TransactionId) xid))
		return false;
	SET_LOCKTAG_TRANSACTION(tag, (TransactionId) xid);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, false);
	return false;
}

int
atlas_queue_ending(const pg_uuid_t *ids, int nids, pg_uuid_t *ending)
{
	AtlasQueued *queued = palloc(sizeof(AtlasQueued) * Max(nids, 1));
	int			nqueued = atlas_queue_find(ids, nids, queued);
	int			nending = 0;

	for (int i = 0; i < nqueued; i++)
		if (is_ending(queued[i].submitted_xid))
			ending[nending++] = queued[i].event_id;
	return nending;
}

/* ----- Putting off and taking out ----- */

void
atlas_queue_remove(const AtlasColumn *ids)
{
	Datum		value = atlas_column_array(ids, UUIDOID);

	if (ids->nvalues > 0)
		(void) atlas_execute(&delete_queued, &value, NULL, false, 0);
}

void
atlas_deferrals_init(AtlasDeferrals *deferrals, int size)
{
	atlas_column_init(&deferrals->ids, size);
	atlas_column_init(&deferrals->times, size);
	atlas_column_init(&deferrals->reasons, size);
}

void
atlas_deferrals_add(AtlasDeferrals *deferrals, const pg_uuid_t *id, TimestampTz until,
					const char *reason)
{
	atlas_column_add(&deferrals->ids, UUIDPGetDatum(id));
	atlas_column_add(&deferrals->times, TimestampTzGetDatum(until));
	atlas_column_add(&deferrals->reasons, CStringGetTextDatum(reason));
}

void
atlas_queue_defer(const AtlasDeferrals *deferrals)
{
	Datum		values[3];

	values[0] = atlas_column_array(&deferrals->ids, UUIDOID);
	values[1] = atlas_column_array(&deferrals->times, TIMESTAMPTZOID);
	values[2] = atlas_column_array(&deferrals->reasons, TEXTOID);
	(void) atlas_execute(&defer_queued, values, NULL, false, 0);
}

void
atlas_queue_note_failure(const pg_uuid_t *id, int attempts, const char *message,
						 TimestampTz next_attempt_at)
{
	Datum		values[4];

	values[0] = UUIDPGetDatum(id);
	values[1] = Int16GetDatum(attempts);
	values[2] = CStringGetTextDatum(message);
	values[3] = TimestampTzGetDatum(next_attempt_at);
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
	Datum		value = TimestampTzGetDatum(GetCurrentTimestamp());
	bool		isnull;

	(void) atlas_execute(&has_work, &value, NULL, false, 0);
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
