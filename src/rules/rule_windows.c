/*
 * rule_windows.c
 *		Which hits are matches, now that some have come.
 *
 * Hits may come in any order. A new one can be a match, and can make matches of the hits after it:
 * of the next ones, one fewer than the rule needs, because a later one had enough without it.
 * So hits are read from the new one on, until so many have been seen after the last new one; and
 * before that as many before the new one as can be in its window. That is about twice as
 * many index entries as the rule needs, however many hits there are. What is a match follows
 * from the hits that are there, and not from the order in which they came.
 *
 * The hits are read by their primary key, partition by partition, without a statement, or else by one.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/statement.h"
#include "read/index_reader.h"
#include "rules/rule_rows.h"
#include "rules/rule_windows.h"
#include "rules/window.h"
#include "store/partitions.h"

/* Index Cond on the primary key, Append in the order of the partitions. */
#define SELECT_HITS(direction) \
	"SELECT h.event_id, h.occurred_at FROM @extschema@.atlas_rule_hits h" \
	" WHERE h.tenant_id OPERATOR(pg_catalog.=) $1 AND h.rule_id OPERATOR(pg_catalog.=) $2" \
	"   AND h.object_id OPERATOR(pg_catalog.=) $3" \
	"   AND h.event_id OPERATOR(pg_catalog.>=) $4 AND h.event_id OPERATOR(pg_catalog.<) $5" \
	" ORDER BY h.event_id " direction " LIMIT $6"

static AtlasStatement select_hits[] = {
	{SELECT_HITS("DESC"), 6, {TEXTOID, INT8OID, TEXTOID, UUIDOID, UUIDOID, INT8OID}},
	{SELECT_HITS("ASC"), 6, {TEXTOID, INT8OID, TEXTOID, UUIDOID, UUIDOID, INT8OID}},
};

enum
{
	READ_TENANT_ID,
	READ_RULE_ID,
	READ_OBJECT_ID,
	READ_EVENT_ID,
	READ_OCCURRED_AT
};

static const AtlasReadShape hits_by_object = {
	.ncolumns = READ_OCCURRED_AT + 1,
	.columns = {
		[READ_TENANT_ID] = {"tenant_id", TEXTOID},
		[READ_RULE_ID] = {"rule_id", INT8OID},
		[READ_OBJECT_ID] = {"object_id", TEXTOID},
		[READ_EVENT_ID] = {"event_id", UUIDOID},
		[READ_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID},
	},
	.nequal = 3,
	.keys = {READ_TENANT_ID, READ_RULE_ID, READ_OBJECT_ID, READ_EVENT_ID},
};

/* A hit that was read. */
typedef struct ReadHit
{
	pg_uuid_t	event_id;
	TimestampTz occurred_at;
} ReadHit;

/* The table of hits, and the partition of it that was read last. */
typedef struct HitTable
{
	Relation	table;
	Snapshot	snapshot;
	bool		is_direct;
	AtlasIndexReader *reader;	/* NULL: no partition is open */
	Oid			partition;
} HitTable;

/* The hits of one rule and object. */
typedef struct ObjectHits
{
	HitTable   *hits;
	const AtlasHit *any;		/* one of the new ones */
	int			depth;			/* the greatest of theirs */
	Datum		values[3];		/* tenant, rule and object */
	ReadHit    *read;			/* room for as many as are read at once */
	AtlasWindow window;
} ObjectHits;

/* ----- Reading hits ----- */

/* The smallest id of a time. A time before all events has that of all. */
static void
first_id_of(TimestampTz time, pg_uuid_t *id)
{
	if (!atlas_event_id_first(time, id))
		memset(id, time < 0 ? 0 : 0xff, UUID_LEN);
}

/* Has the partition open; false if it cannot be read by an index. */
static bool
open_hits_partition(HitTable *hits, Oid partition)
{
	if (hits->reader != NULL && hits->partition == partition)
		return true;
	if (hits->reader != NULL)
		atlas_index_reader_close(hits->reader);
	hits->partition = partition;
	hits->reader = atlas_index_reader_open(partition, &hits_by_object, true, hits->snapshot);
	return hits->reader != NULL;
}

/* Finds the partition to go on in, and the part of the range that it has, or that is a gap. */
static Oid
next_part(const HitTable *hits, const pg_uuid_t *low, const pg_uuid_t *high, bool forward, AtlasIdRange *part)
{
	AtlasIdRange range;
	Oid			partition;

	if (!forward)
		return atlas_partition_part_below(hits->table, low, high, part);
	partition = atlas_partition_at(hits->table, low, &range);
	*part = (AtlasIdRange) {.low = *low, .high = *high, .bounded_low = true, .bounded_high = true};
	if (range.bounded_high && atlas_event_id_compare(&range.high, high) < 0)
		part->high = range.high;
	return partition;
}

/* Reads up to so many hits by index; -1 if that is not possible. */
static int
read_hits_directly(ObjectHits *object, const pg_uuid_t *from, const pg_uuid_t *to, bool forward, int limit)
{
	pg_uuid_t	low = *from;
	pg_uuid_t	high = *to;
	int			nread = 0;
	bool		isnull;

	while (nread < limit && atlas_event_id_compare(&low, &high) < 0)
	{
		AtlasIdRange part;
		Oid			partition = next_part(object->hits, &low, &high, forward, &part);
		AtlasIndexReader *reader;

		CHECK_FOR_INTERRUPTS();
		if (forward)
			low = part.high;
		else
			high = part.low;
		if (!OidIsValid(partition))
			continue;
		if (!open_hits_partition(object->hits, partition))
			return -1;
		reader = object->hits->reader;
		if (forward)
			atlas_index_reader_seek_forward(reader, object->values, &part.low, &part.high);
		else
			atlas_index_reader_seek(reader, object->values, &part.low, &part.high);
		while (nread < limit && atlas_index_reader_next(reader))
		{
			object->read[nread].event_id = *DatumGetUUIDP(atlas_index_reader_value(reader, READ_EVENT_ID, &isnull));
			object->read[nread++].occurred_at =
				DatumGetTimestampTz(atlas_index_reader_value(reader, READ_OCCURRED_AT, &isnull));
		}
	}
	return nread;
}

/* Reads them by a statement. */
static int
read_hits_by_statement(ObjectHits *object, const pg_uuid_t *low, const pg_uuid_t *high, bool forward, int limit)
{
	Datum		values[] = {
		object->values[0], object->values[1], object->values[2], UUIDPGetDatum(low),
		UUIDPGetDatum(high), Int64GetDatum(limit)
	};
	int			nread = (int) atlas_execute_now(&select_hits[forward], values);
	bool		isnull;

	for (int i = 0; i < nread; i++)
	{
		object->read[i].event_id = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
																1, &isnull));
		object->read[i].occurred_at = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[i],
																		 SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return nread;
}

/* Reads hits of the object from low up to high, without high: the greatest or the smallest ids first. */
static int
read_hits(ObjectHits *object, const pg_uuid_t *low, const pg_uuid_t *high, bool forward, int limit)
{
	int			nread = -1;

	if (object->hits->is_direct)
		nread = read_hits_directly(object, low, high, forward, limit);
	object->hits->is_direct = nread >= 0;
	return nread >= 0 ? nread : read_hits_by_statement(object, low, high, forward, limit);
}

/* ----- Looking at windows ----- */

/* Puts the hits that may be in the window of a new hit into it. */
static void
fill_window(ObjectHits *object, const AtlasHit *hit)
{
	pg_uuid_t	low;
	int			nread;

	atlas_window_clear(&object->window);
	first_id_of(hit->occurred_at - hit->rule->within + 1, &low);
	nread = read_hits(object, &low, &hit->event_id, false, hit->rule->times - 1);
	for (int i = nread - 1; i >= 0; i--)
		(void) atlas_window_add(&object->window, object->read[i].occurred_at);
}

static List *
add_match(List *matches, const ObjectHits *object, const ReadHit *read)
{
	AtlasHit   *match = palloc(sizeof(AtlasHit));

	match->rule = object->any->rule;
	match->object_id = object->any->object_id;
	match->event_id = read->event_id;
	match->occurred_at = read->occurred_at;
	match->depth = object->depth;
	return lappend(matches, match);
}

/*
 * Looks at hits from a new one on, which is the next of them, until the new ones have no effect
 * any more. Sets next to the new one to go on with.
 */
static List *
look_from(List *matches, ObjectHits *object, const List *hits, int *next, int end)
{
	const AtlasHit *last = list_nth(hits, end - 1);
	int			times = last->rule->times;
	int			left = times;	/* that may be matches because of new ones */
	pg_uuid_t	low = ((const AtlasHit *) list_nth(hits, *next))->event_id;
	pg_uuid_t	high;
	int			nread;

	fill_window(object, list_nth(hits, *next));
	first_id_of(last->occurred_at + last->rule->within, &high);
	(*next)++;
	do
	{
		nread = read_hits(object, &low, &high, true, times);
		for (int i = 0; i < nread && left > 0; i++)
		{
			const ReadHit *read = &object->read[i];

			while (*next < end &&
				   atlas_event_id_compare(&((const AtlasHit *) list_nth(hits, *next))->event_id, &read->event_id) <= 0)
			{
				(*next)++;
				left = times;
			}
			if (atlas_window_add(&object->window, read->occurred_at))
				matches = add_match(matches, object, read);
			left--;
		}
		if (nread > 0)
			low = object->read[nread - 1].event_id;
		/* The id that follows directly; no event has the greatest of all. */
		for (int i = UUID_LEN - 1; nread > 0 && i >= 0 && ++low.data[i] == 0; i--)
			;
	} while (nread == times && left > 0);
	return matches;
}

/* Looks at the windows of one rule and object, whose new hits are from first up to end. */
static List *
look_at_object(List *matches, HitTable *table, const List *hits, int first, int end)
{
	ObjectHits	object = {.hits = table,.any = list_nth(hits, first)};
	int			next = first;

	object.values[0] = PointerGetDatum(object.any->rule->tenant);
	object.values[1] = Int64GetDatum(object.any->rule->id);
	object.values[2] = PointerGetDatum(object.any->object_id);
	object.read = palloc(sizeof(ReadHit) * object.any->rule->times);
	atlas_window_init(&object.window, object.any->rule);
	for (int i = first; i < end; i++)
		object.depth = Max(object.depth, ((const AtlasHit *) list_nth(hits, i))->depth);
	while (next < end)
		matches = look_from(matches, &object, hits, &next, end);
	pfree(object.window.last);
	pfree(object.read);
	return matches;
}

static bool
are_of_same_object(const AtlasHit *a, const AtlasHit *b)
{
	return a->rule == b->rule && atlas_compare_text(a->object_id, b->object_id) == 0;
}

List *
atlas_rule_windows_look(List *matches, const List *hits)
{
	HitTable	table = {.table = atlas_open_for_reading(ATLAS_RULE_HITS)};
	int			end;

	table.snapshot = RegisterSnapshot(GetLatestSnapshot());
	table.is_direct = atlas_direct_access && atlas_may_use_directly(table.table, ACL_SELECT);
	for (int first = 0; first < list_length(hits); first = end)
	{
		CHECK_FOR_INTERRUPTS();
		for (end = first + 1; end < list_length(hits); end++)
			if (!are_of_same_object(list_nth(hits, first), list_nth(hits, end)))
				break;
		matches = look_at_object(matches, &table, hits, first, end);
	}
	if (table.reader != NULL)
		atlas_index_reader_close(table.reader);
	UnregisterSnapshot(table.snapshot);
	table_close(table.table, NoLock);
	return matches;
}
