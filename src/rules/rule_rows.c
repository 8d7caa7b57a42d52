/*
 * rule_rows.c
 *		Rows of atlas_rule_hits and atlas_rule_matches.
 *
 * An event may be worked on more than once, so rows that are there already are skipped.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "rules/rule_rows.h"
#include "store/partitions.h"
#include "store/rows.h"

enum
{
	HIT_EVENT_ID,
	HIT_OCCURRED_AT,
	HIT_RULE_ID,
	HIT_TENANT_ID,
	HIT_OBJECT_ID
};

enum
{
	MATCH_EVENT_ID,
	MATCH_MATCHED_AT,
	MATCH_RULE_ID,
	MATCH_TENANT_ID,
	MATCH_RULE_NAME,
	MATCH_OBJECT_TYPE,
	MATCH_OBJECT_ID
};

/* The columns, as the install script has them. */
static AtlasTable hits_table = {
	.id = ATLAS_RULE_HITS,
	.ncolumns = HIT_OBJECT_ID + 1,
	.columns = {
		[HIT_EVENT_ID] = {"event_id", UUIDOID},
		[HIT_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID},
		[HIT_RULE_ID] = {"rule_id", INT8OID},
		[HIT_TENANT_ID] = {"tenant_id", TEXTOID},
		[HIT_OBJECT_ID] = {"object_id", TEXTOID},
	},
	.skips_existing = true,
};

static AtlasTable matches_table = {
	.id = ATLAS_RULE_MATCHES,
	.ncolumns = MATCH_OBJECT_ID + 1,
	.columns = {
		[MATCH_EVENT_ID] = {"event_id", UUIDOID},
		[MATCH_MATCHED_AT] = {"matched_at", TIMESTAMPTZOID},
		[MATCH_RULE_ID] = {"rule_id", INT8OID},
		[MATCH_TENANT_ID] = {"tenant_id", TEXTOID},
		[MATCH_RULE_NAME] = {"rule_name", TEXTOID},
		[MATCH_OBJECT_TYPE] = {"object_type", TEXTOID},
		[MATCH_OBJECT_ID] = {"object_id", TEXTOID},
	},
	.skips_existing = true,
};

int
atlas_hit_compare_events(const ListCell *a, const ListCell *b)
{
	const AtlasHit *left = lfirst(a);
	const AtlasHit *right = lfirst(b);

	CHECK_FOR_INTERRUPTS();
	return atlas_event_id_compare(&left->event_id, &right->event_id);
}

int
atlas_hit_compare(const ListCell *a, const ListCell *b)
{
	const AtlasHit *left = lfirst(a);
	const AtlasHit *right = lfirst(b);
	int			result = (left->rule->id > right->rule->id) - (left->rule->id < right->rule->id);

	if (result == 0)
		result = atlas_compare_text(left->rule->tenant, right->rule->tenant);
	if (result == 0)
		result = atlas_compare_text(left->object_id, right->object_id);
	return result != 0 ? result : atlas_hit_compare_events(a, b);
}

/* Makes the partitions that the rows of hits go to. */
static void
ensure_rule_partitions(AtlasTableId table, const List *hits)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * list_length(hits));

	for (int i = 0; i < list_length(hits); i++)
		ids[i] = ((const AtlasHit *) list_nth(hits, i))->event_id;
	atlas_partition_ensure(table, ids, list_length(hits));
	pfree(ids);
}

void
atlas_rule_hits_write(const List *hits)
{
	AtlasRows	rows;
	ListCell   *cell;

	if (hits == NIL)
		return;
	ensure_rule_partitions(ATLAS_RULE_HITS, hits);
	atlas_rows_init(&rows, &hits_table, list_length(hits));
	foreach(cell, hits)
	{
		const AtlasHit *hit = lfirst(cell);

		atlas_rows_add(&rows);
		atlas_rows_set_pointer(&rows, HIT_EVENT_ID, &hit->event_id);
		atlas_rows_set(&rows, HIT_OCCURRED_AT, TimestampTzGetDatum(hit->occurred_at));
		atlas_rows_set(&rows, HIT_RULE_ID, Int64GetDatum(hit->rule->id));
		atlas_rows_set_pointer(&rows, HIT_TENANT_ID, hit->rule->tenant);
		atlas_rows_set_pointer(&rows, HIT_OBJECT_ID, hit->object_id);
	}
	atlas_rows_insert(&rows);
}

/* What others can observe and act on must survive a crash, so the transaction waits for the disk. */
void
atlas_rule_matches_write(const List *matches)
{
	TimestampTz now = GetCurrentTimestamp();
	AtlasRows	rows;
	ListCell   *cell;

	if (matches == NIL)
		return;
	ensure_rule_partitions(ATLAS_RULE_MATCHES, matches);
	atlas_rows_init(&rows, &matches_table, list_length(matches));
	foreach(cell, matches)
	{
		const AtlasHit *match = lfirst(cell);

		atlas_rows_add(&rows);
		atlas_rows_set_pointer(&rows, MATCH_EVENT_ID, &match->event_id);
		atlas_rows_set(&rows, MATCH_MATCHED_AT, TimestampTzGetDatum(now));
		atlas_rows_set(&rows, MATCH_RULE_ID, Int64GetDatum(match->rule->id));
		atlas_rows_set_pointer(&rows, MATCH_TENANT_ID, match->rule->tenant);
		atlas_rows_set_pointer(&rows, MATCH_RULE_NAME, match->rule->name);
		atlas_rows_set_pointer(&rows, MATCH_OBJECT_TYPE, match->rule->object_type);
		atlas_rows_set_pointer(&rows, MATCH_OBJECT_ID, match->object_id);
	}
	atlas_rows_insert(&rows);
	ForceSyncCommit();
}
