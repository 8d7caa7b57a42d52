/*
 * rule_rows.c
 *		Rows of atlas_rule_hits and atlas_rule_matches.
 *
 * An event may be worked on more than once, so rows that are there already are skipped.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/extension.h"
#include "base/statement.h"
#include "rules/rule_actions.h"
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

/* Returns those that are new, in the order of the arrays. */
static AtlasStatement insert_matches = {
	.sql =
	"INSERT INTO @extschema@.atlas_rule_matches"
	"       (event_id, matched_at, match_id, rule_id, tenant_id, rule_name, object_type, object_id, action_status)"
	" SELECT * FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
	"                          pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8),"
	"                          pg_catalog.unnest($9)) AS m"
	" ON CONFLICT DO NOTHING RETURNING match_id",
	.nparameters = 9,
	.parameters = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID},
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

/* Makes the partitions that the rows of hits go to, and says so meanwhile. */
static void
ensure_rule_partitions(AtlasTableId table, const List *hits, bool *makes_partitions)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * list_length(hits));

	for (int i = 0; i < list_length(hits); i++)
		ids[i] = ((const AtlasHit *) list_nth(hits, i))->event_id;
	*makes_partitions = true;
	atlas_partition_ensure(table, ids, list_length(hits));
	*makes_partitions = false;
	pfree(ids);
}

void
atlas_rule_hits_write(const List *hits, bool *makes_partitions)
{
	AtlasRows	rows;
	ListCell   *cell;

	if (hits == NIL)
		return;
	ensure_rule_partitions(ATLAS_RULE_HITS, hits, makes_partitions);
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

/* Fills the arrays of the statement, and gives each match its number. */
static void
match_values(List *matches, Datum *values)
{
	static const Oid types[] = {UUIDOID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Oid			sequence = get_relname_relid("atlas_rule_matches_match_id_seq", atlas_extension()->schema);
	TimestampTz now = GetCurrentTimestamp();
	AtlasColumn columns[lengthof(types)];
	ListCell   *cell;

	for (int i = 0; i < lengthof(types); i++)
		atlas_column_init(&columns[i], list_length(matches));
	foreach(cell, matches)
	{
		AtlasHit   *match = lfirst(cell);

		match->match_id = nextval_internal(sequence, false);
		atlas_column_add_pointer(&columns[0], &match->event_id);
		atlas_column_add(&columns[1], TimestampTzGetDatum(now));
		atlas_column_add(&columns[2], Int64GetDatum(match->match_id));
		atlas_column_add(&columns[3], Int64GetDatum(match->rule->id));
		atlas_column_add_pointer(&columns[4], match->rule->tenant);
		atlas_column_add_pointer(&columns[5], match->rule->name);
		atlas_column_add_pointer(&columns[6], match->rule->object_type);
		atlas_column_add_pointer(&columns[7], match->object_id);
		atlas_column_add_pointer(&columns[8], match->rule->session_role == NULL ? NULL : cstring_to_text(ATLAS_ACTION_PENDING));
	}
	for (int i = 0; i < lengthof(types); i++)
		values[i] = atlas_column_array(&columns[i], types[i]);
}

/* What others can observe and act on must survive a crash, so the transaction waits for the disk. */
List *
atlas_rule_matches_write(List *matches, bool *makes_partitions)
{
	Datum		values[9];
	List	   *fresh = NIL;
	int			next = 0;
	bool		isnull;

	if (matches == NIL)
		return NIL;
	ensure_rule_partitions(ATLAS_RULE_MATCHES, matches, makes_partitions);
	match_values(matches, values);
	(void) atlas_execute(&insert_matches, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int64		id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		while (next < list_length(matches) && ((const AtlasHit *) list_nth(matches, next))->match_id < id)
			next++;
		if (next < list_length(matches))
			fresh = lappend(fresh, list_nth(matches, next));
	}
	SPI_freetuptable(SPI_tuptable);
	ForceSyncCommit();
	return fresh;
}
