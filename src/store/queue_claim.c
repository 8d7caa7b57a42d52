/*
 * queue_claim.c
 *		Claiming events from the queue, without reading what is dead.
 *
 * All of this holds for the work table as well, whose rows and whose cursor's index are like those
 * of the queue.
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
 *
 * One linker serves all tenants, so all statements but the last look for events of any
 * tenant, and a batch may hold events of several.
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "base/arrays.h"
#include "base/statement.h"
#include "store/queue_claim.h"

/* The statements that claim from one of the tables. */
typedef struct ClaimStatements
{
	AtlasStatement range;
	AtlasStatement unfinished;
	AtlasStatement left;
	AtlasStatement due;
} ClaimStatements;

/* What is taken out of each row; what is an expression. */
#define CLAIMED(what) "tenant_id, event_id, ctid, submitted_xid, attempts, depth, " what

/*
 * Of any tenant. Index Cond on the cursor's index, no sort. That index is for statements
 * only that compare submitted_xid, like this one and those below.
 */
#define CLAIM_RANGE(table, what) \
	"SELECT " CLAIMED(what) \
	"  FROM @extschema@." table \
	" WHERE next_attempt_at IS NULL" \
	"   AND (submitted_xid, event_id) OPERATOR(pg_catalog.>) ($1, $2)" \
	"   AND submitted_xid OPERATOR(pg_catalog.<=) $3" \
	" ORDER BY next_attempt_at, submitted_xid, event_id" \
	" LIMIT $4" \
	"   FOR UPDATE SKIP LOCKED"

/*
 * Which of these transactions have events of any tenant in the table. LIMIT keeps it a lookup for
 * each of them: a join could read the whole table.
 */
#define FIND_UNFINISHED(table) \
	"SELECT x" \
	"  FROM pg_catalog.unnest($1) AS x," \
	"       LATERAL (SELECT FROM @extschema@." table " q" \
	"                 WHERE q.next_attempt_at IS NULL" \
	"                   AND q.submitted_xid OPERATOR(pg_catalog.=) x" \
	"                 LIMIT 1) AS found" \
	" ORDER BY x"

/*
 * Is there an event, of any tenant, that the pass before must have seen, and did not get? Its
 * transaction had ended when that pass began.
 */
#define FIND_LEFT(table) \
	"SELECT EXISTS (SELECT FROM @extschema@." table " q" \
	"                WHERE q.next_attempt_at IS NULL" \
	"                  AND q.submitted_xid OPERATOR(pg_catalog.>=) $1" \
	"                  AND q.submitted_xid OPERATOR(pg_catalog.<) $2" \
	"                  AND q.submitted_xid OPERATOR(pg_catalog.<>) ALL ($3))" \
	"    OR EXISTS (SELECT" \
	"                 FROM pg_catalog.unnest($4) AS x," \
	"                      LATERAL (SELECT FROM @extschema@." table " q" \
	"                                WHERE q.next_attempt_at IS NULL" \
	"                                  AND q.submitted_xid OPERATOR(pg_catalog.=) x" \
	"                                LIMIT 1) AS found" \
	"                WHERE x OPERATOR(pg_catalog.<>) ALL ($3))"

/* Of any tenant; Index Cond on the same index. */
#define CLAIM_DUE(table, what) \
	"SELECT " CLAIMED(what) \
	"  FROM @extschema@." table \
	" WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1 AND submitted_xid OPERATOR(pg_catalog.>=) '0'" \
	" ORDER BY next_attempt_at" \
	" LIMIT $2" \
	"   FOR UPDATE SKIP LOCKED"

#define CLAIM_STATEMENTS(table, what) \
	{ \
		.range = {CLAIM_RANGE(table, what), 4, {XID8OID, UUIDOID, XID8OID, INT8OID}}, \
		.unfinished = {FIND_UNFINISHED(table), 1, {XID8ARRAYOID}}, \
		.left = {FIND_LEFT(table), 4, {XID8OID, XID8OID, XID8ARRAYOID, XID8ARRAYOID}}, \
		.due = {CLAIM_DUE(table, what), 2, {TIMESTAMPTZOID, INT8OID}}, \
	}

#define NOTHING_ELSE "0::pg_catalog.int2"

static ClaimStatements claims[] = {
	[ATLAS_TO_LINK] = CLAIM_STATEMENTS("atlas_event_queue", NOTHING_ELSE),
	[ATLAS_TO_WORK_ON] = CLAIM_STATEMENTS("atlas_event_work", "what"),
};

static AtlasStatement claim_queued_again = {
	.sql =
	"SELECT q.*"
	"  FROM " ATLAS_KEYS ","
	"       LATERAL (SELECT " CLAIMED(NOTHING_ELSE) " FROM @extschema@.atlas_event_queue q"
	"                 WHERE " ATLAS_IS_KEY("q")
	"                   AND (next_attempt_at IS NULL OR next_attempt_at OPERATOR(pg_catalog.<>) 'infinity')"
	"                OFFSET 0 FOR UPDATE SKIP LOCKED) q",
	.nparameters = ATLAS_KEYS_NPARAMETERS,
	.parameters = {ATLAS_KEYS_PARAMETERS},
};

/* The work table has no index by event, so its rows are found by their places: a Tid Scan. */
static AtlasStatement claim_work_again = {
	.sql =
	"SELECT w.*"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	"               AS k (tenant_id, event_id, place),"
	"       LATERAL (SELECT " CLAIMED("what") " FROM @extschema@.atlas_event_work w"
	"                 WHERE w.ctid OPERATOR(pg_catalog.=) k.place AND " ATLAS_IS_KEY("w")
	"                OFFSET 0 FOR UPDATE SKIP LOCKED) w",
	.nparameters = ATLAS_KEYS_NPARAMETERS + 1,
	.parameters = {ATLAS_KEYS_PARAMETERS, TIDARRAYOID},
};

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
		cursor->nunfinished = (int) atlas_execute(&claims[cursor->backlog].unfinished, &value, NULL, false, 0);
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
	(void) atlas_execute(&claims[cursor->backlog].left, values, NULL, false, 0);
	cursor->left_some = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
												   1, &isnull));
	cursor->previous_seen = true;
	return cursor->left_some;
}

/* Takes the events out of the rows found, with what the rows say. */
static int
take_keys(AtlasEventKey *keys)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	bool		isnull;

	atlas_event_keys_take(keys, 1, 2);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		keys[i].place = *(ItemPointer) DatumGetPointer(SPI_getbinval(row, tupdesc, 3, &isnull));
		keys[i].submitted_xid = DatumGetUInt64(SPI_getbinval(row, tupdesc, 4, &isnull));
		keys[i].attempts = DatumGetInt16(SPI_getbinval(row, tupdesc, 5, &isnull));
		keys[i].depth = DatumGetInt16(SPI_getbinval(row, tupdesc, 6, &isnull));
		keys[i].what = DatumGetInt16(SPI_getbinval(row, tupdesc, 7, &isnull));
	}
	return (int) SPI_processed;
}

/* Claims from the range that the cursor is in, and moves on in it. */
static int
claim_from_range(AtlasCursor *cursor, int limit, AtlasEventKey *keys)
{
	Datum		values[4];
	int			nclaimed;

	values[0] = UInt64GetDatum(cursor->position_xid);
	values[1] = UUIDPGetDatum(&cursor->position_id);
	values[2] = UInt64GetDatum(cursor->current < cursor->nunfinished ?
							   cursor->unfinished[cursor->current] : cursor->last_xid);
	values[3] = Int64GetDatum(limit);
	nclaimed = (int) atlas_execute(&claims[cursor->backlog].range, values, NULL, false, 0);
	if (nclaimed == 0)
		return 0;

	(void) take_keys(keys);
	cursor->position_id = keys[nclaimed - 1].id;
	cursor->position_xid = keys[nclaimed - 1].submitted_xid;
	return nclaimed;
}

/*
 * Claims up to limit events that are due at once, and locks their rows in the queue.
 * Fewer than limit: the pass is over.
 */
static int
claim_new(AtlasCursor *cursor, int limit, AtlasEventKey *keys)
{
	int			nclaimed = 0;

	if (!cursor->in_pass)
		begin_pass(cursor);
	for (;;)
	{
		nclaimed += claim_from_range(cursor, limit - nclaimed, keys + nclaimed);
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
claim_again_due(AtlasBacklog backlog, int limit, AtlasEventKey *keys)
{
	Datum		values[2];

	values[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[1] = Int64GetDatum(limit);
	(void) atlas_execute(&claims[backlog].due, values, NULL, false, 0);
	return take_keys(keys);
}

int
atlas_queue_claim_batch(AtlasCursor *cursor, int limit, AtlasEventKey *keys)
{
	/* Events that were put off get a share, however many new ones there are. */
	int			share = limit > 1 ? Max(limit / 10, 1) : 0;
	int			ndue = claim_again_due(cursor->backlog, share, keys);
	int			nnew = claim_new(cursor, limit - ndue, keys + ndue);

	if (ndue < share || ndue + nnew == limit)
		return ndue + nnew;

	/* They also get the room that is left. Those of the share are claimed once more with it. */
	memmove(keys, keys + ndue, sizeof(AtlasEventKey) * nnew);
	return nnew + claim_again_due(cursor->backlog, limit - nnew, keys + nnew);
}

int
atlas_queue_claim_again(AtlasEventKey *keys, int nkeys)
{
	Datum		values[ATLAS_KEYS_NPARAMETERS];

	atlas_event_keys_values(keys, nkeys, values);
	(void) atlas_execute(&claim_queued_again, values, NULL, false, 0);
	return take_keys(keys);
}

int
atlas_work_claim_again(AtlasEventKey *keys, int nkeys)
{
	Datum		values[ATLAS_KEYS_NPARAMETERS + 1];

	atlas_event_keys_values(keys, nkeys, values);
	values[ATLAS_KEYS_NPARAMETERS] = atlas_event_keys_places(keys, nkeys);
	(void) atlas_execute(&claim_work_again, values, NULL, false, 0);
	return take_keys(keys);
}
