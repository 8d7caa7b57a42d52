/*
 * search_gap.c
 *		The note that events were stored while search was not in effect: rows of the
 *		table atlas_search_gaps, each of which says since when.
 *
 * The first event without a document adds a row, and so does one that occurred earlier than any
 * before it. Rows have no key and are never changed, so no submitter waits for another: two of
 * them may add a row each. A session remembers what is noted, and knows when it is taken
 * back, because whoever removes rows tells the relation cache. What this transaction itself
 * has added may be rolled back, so that is remembered until it ends only, and what a
 * subtransaction has added is not.
 *
 * The table has a few rows. It is read as it is now, without a statement: a submit with
 * search off must cost what it costs without search, and a serializable transaction must not fail
 * because another one has noted the same.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "base/extension.h"
#include "base/invalidation.h"
#include "base/statement.h"
#include "store/rows.h"
#include "store/search_gap.h"

static AtlasTable gaps_table = {
	.id = ATLAS_SEARCH_GAPS,
	.ncolumns = 1,
	.columns = {{"since", TIMESTAMPTZOID}},
};

static AtlasStatement delete_gaps = {
	.sql = "DELETE FROM @extschema@.atlas_search_gaps WHERE since OPERATOR(pg_catalog.>=) $1",
	.nparameters = 1,
	.parameters = {TIMESTAMPTZOID},
};

/* What this session remembers: events of this time and later are noted. */
static TimestampTz known_since = DT_NOEND;
static Oid	known_relation = InvalidOid;

/* The transaction that has added a row, and what it has noted outside of subtransactions. */
static uint64 added_by = 0;
static TimestampTz added_since = DT_NOEND;

/* Called by the relation cache. */
static void
gaps_changed(Oid relid)
{
	if (relid == InvalidOid || relid == known_relation)
		known_since = added_since = DT_NOEND;
}

void
atlas_search_gap_init(void)
{
	atlas_listen_to_relations(gaps_changed);
}

TimestampTz
atlas_search_gap_since(void)
{
	Relation	relation = table_open(atlas_relation(ATLAS_SEARCH_GAPS), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, SnapshotSelf, 0, NULL);
	TimestampTz since = DT_NOEND;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, 1, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!isnull)
			since = Min(since, DatumGetTimestampTz(value));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, NoLock);
	return since;
}

/* The beginning of the day, so that not every event that is older than all before it adds a row. */
static TimestampTz
day_of(TimestampTz time)
{
	TimestampTz rest = time % USECS_PER_DAY;

	return time - (rest < 0 ? rest + USECS_PER_DAY : rest);
}

/* Adds a row. */
static void
add_gap(TimestampTz since)
{
	AtlasRows	rows;

	atlas_rows_init(&rows, &gaps_table, 1);
	atlas_rows_add(&rows);
	atlas_rows_set(&rows, 0, TimestampTzGetDatum(since));
	atlas_rows_write(&rows);
}

void
atlas_search_gap_note(const pg_uuid_t *event_id)
{
	TimestampTz time = atlas_event_id_time(event_id);
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());
	TimestampTz since;

	/* A rebuild waits for the transactions that had an id before what was noted was taken back. */
	AcceptInvalidationMessages();
	if (added_by != xid)
		added_since = DT_NOEND;
	if (known_relation == atlas_relation(ATLAS_SEARCH_GAPS) && time >= Min(known_since, added_since))
		return;
	known_relation = atlas_relation(ATLAS_SEARCH_GAPS);
	known_since = DT_NOEND;
	since = atlas_search_gap_since();
	if (time < since)
	{
		add_gap(day_of(time));
		added_by = xid;
		if (GetCurrentTransactionNestLevel() == 1)
			added_since = day_of(time);
	}
	else if (added_by != xid)
		known_since = since;
}

void
atlas_search_gap_close(TimestampTz since)
{
	Datum		value = TimestampTzGetDatum(since);

	(void) atlas_execute(&delete_gaps, &value, NULL, false, 0);
	CacheInvalidateRelcacheByRelid(atlas_relation(ATLAS_SEARCH_GAPS));
}
