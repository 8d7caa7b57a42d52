/*
 * unresolved.c
 *		Rows of atlas_event_unresolved: references that were not linked.
 *
 * A reference that was not found is looked up again with growing delays until it is
 * older than atlas_events.relink_window; then its row stays, as the record of the
 * failure.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/retry.h"
#include "base/statement.h"
#include "link/events_to_link.h"
#include "link/put_off.h"
#include "link/unresolved.h"
#include "store/rows.h"

#define FIRST_DELAY_SECONDS 5
#define MAX_DELAY_SECONDS 3600

int			atlas_relink_window = SECS_PER_DAY;

enum
{
	UNRESOLVED_EVENT_ID,
	UNRESOLVED_POSITION,
	UNRESOLVED_ATTEMPTS,
	UNRESOLVED_TENANT_ID,
	UNRESOLVED_OBJECT_TYPE,
	UNRESOLVED_OBJECT_ID,
	UNRESOLVED_EXTERNAL_ID,
	UNRESOLVED_OUTCOME,
	UNRESOLVED_REASON,
	UNRESOLVED_FIRST_ATTEMPT_AT,
	UNRESOLVED_NEXT_ATTEMPT_AT
};

/* The columns, as the install script has them. */
static AtlasTable unresolved_table = {
	.id = ATLAS_EVENT_UNRESOLVED,
	.ncolumns = UNRESOLVED_NEXT_ATTEMPT_AT + 1,
	.columns = {
		[UNRESOLVED_EVENT_ID] = {"event_id", UUIDOID},
		[UNRESOLVED_POSITION] = {"position", INT2OID},
		[UNRESOLVED_ATTEMPTS] = {"attempts", INT2OID},
		[UNRESOLVED_TENANT_ID] = {"tenant_id", TEXTOID},
		[UNRESOLVED_OBJECT_TYPE] = {"object_type", TEXTOID},
		[UNRESOLVED_OBJECT_ID] = {"object_id", TEXTOID},
		[UNRESOLVED_EXTERNAL_ID] = {"external_id", TEXTOID},
		[UNRESOLVED_OUTCOME] = {"outcome", TEXTOID},
		[UNRESOLVED_REASON] = {"reason", TEXTOID},
		[UNRESOLVED_FIRST_ATTEMPT_AT] = {"first_attempt_at", TIMESTAMPTZOID},
		[UNRESOLVED_NEXT_ATTEMPT_AT] = {"next_attempt_at", TIMESTAMPTZOID},
	},
};

/* Of any tenant, because one linker serves all; Index Cond on atlas_event_unresolved_next_attempt_at_idx. */
static AtlasStatement select_due = {
	.sql =
	"SELECT event_id, position, tenant_id, object_type, object_id, external_id, attempts,"
	"       first_attempt_at"
	"  FROM @extschema@.atlas_event_unresolved"
	" WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1"
	" ORDER BY next_attempt_at"
	" LIMIT $2"
	"   FOR UPDATE SKIP LOCKED",
	.nparameters = 2,
	.parameters = {TIMESTAMPTZOID, INT8OID},
};

/* The references of one event whose lookup has killed a linker, or may have killed it. */
static AtlasStatement select_given_up = {
	.sql =
	"SELECT event_id, position, tenant_id, object_type, object_id, external_id, attempts,"
	"       first_attempt_at"
	"  FROM @extschema@.atlas_event_unresolved"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND event_id OPERATOR(pg_catalog.=) $2"
	"   AND reason OPERATOR(pg_catalog.=) $3"
	"   FOR UPDATE",
	.nparameters = 3,
	.parameters = {TEXTOID, UUIDOID, TEXTOID},
};

static AtlasStatement give_up = {
	.sql =
	"UPDATE @extschema@.atlas_event_unresolved"
	"   SET next_attempt_at = NULL, outcome = 'ERROR', reason = $3"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND event_id OPERATOR(pg_catalog.=) $2"
	"   AND next_attempt_at IS NOT NULL",
	.nparameters = 3,
	.parameters = {TEXTOID, UUIDOID, TEXTOID},
};

/* Of any tenant, as above. */
static AtlasStatement select_due_events = {
	.sql =
	"SELECT tenant_id, event_id"
	"  FROM (SELECT tenant_id, event_id FROM @extschema@.atlas_event_unresolved"
	"         WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1"
	"         ORDER BY next_attempt_at LIMIT $2) u"
	" ORDER BY event_id, tenant_id",
	.nparameters = 2,
	.parameters = {TIMESTAMPTZOID, INT8OID},
};

/* Not by =, for the reason that store/event_keys.h says. */
#define FINDS_REFERENCE \
	ATLAS_FINDS_KEY("u") \
	" AND u.position OPERATOR(pg_catalog.>=) k.position" \
	" AND u.position OPERATOR(pg_catalog.<=) k.position"

static AtlasStatement delete_resolved = {
	.sql =
	"DELETE FROM @extschema@.atlas_event_unresolved u"
	" USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	"       AS k (tenant_id, event_id, position)"
	" WHERE " FINDS_REFERENCE,
	.nparameters = 3,
	.parameters = {TEXTARRAYOID, UUIDARRAYOID, INT2ARRAYOID},
};

static AtlasStatement update_unresolved = {
	.sql =
	"UPDATE @extschema@.atlas_event_unresolved u"
	"   SET attempts = k.attempts, next_attempt_at = k.next_attempt_at, outcome = k.outcome,"
	"       reason = k.reason"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	"                  pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),"
	"                  pg_catalog.unnest($7))"
	"       AS k (tenant_id, event_id, position, attempts, next_attempt_at, outcome, reason)"
	" WHERE " FINDS_REFERENCE,
	.nparameters = 7,
	.parameters = {TEXTARRAYOID, UUIDARRAYOID, INT2ARRAYOID, INT2ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID,
	TEXTARRAYOID},
};

/* When a reference that was looked up so many times is looked up again. */
static TimestampTz
next_lookup(TimestampTz now, int attempts)
{
	return atlas_backoff(now, FIRST_DELAY_SECONDS, attempts, MAX_DELAY_SECONDS);
}

/* The outcome of a reference that was not linked, as the table has it. */
static const char *
outcome_name(const AtlasRef *ref)
{
	return ref->outcome == ATLAS_REFERENCE_NOT_FOUND ? "NOT_FOUND" : "ERROR";
}

/* Adds the row of a reference that was not linked. */
static void
add_reference(AtlasRows *rows, const AtlasLinkEvent *event, int index, TimestampTz now)
{
	const AtlasRef *ref = &event->refs[index];

	CHECK_FOR_INTERRUPTS();
	atlas_rows_add(rows);
	atlas_rows_set_pointer(rows, UNRESOLVED_EVENT_ID, &event->key.id);
	atlas_rows_set(rows, UNRESOLVED_POSITION, Int16GetDatum(index + 1));
	atlas_rows_set(rows, UNRESOLVED_ATTEMPTS, Int16GetDatum(1));
	atlas_rows_set_pointer(rows, UNRESOLVED_TENANT_ID, ref->lookup.tenant);
	atlas_rows_set(rows, UNRESOLVED_OBJECT_TYPE, CStringGetTextDatum(ref->object_type));
	atlas_rows_set_pointer(rows, UNRESOLVED_OBJECT_ID, ref->lookup.object_id);
	atlas_rows_set_pointer(rows, UNRESOLVED_EXTERNAL_ID, ref->lookup.external_id);
	atlas_rows_set(rows, UNRESOLVED_OUTCOME, CStringGetTextDatum(outcome_name(ref)));
	atlas_rows_set(rows, UNRESOLVED_REASON, CStringGetTextDatum(ref->reason));
	atlas_rows_set(rows, UNRESOLVED_FIRST_ATTEMPT_AT, TimestampTzGetDatum(now));
	if (atlas_relink_window > 0 && ref->problem == NULL)
		atlas_rows_set(rows, UNRESOLVED_NEXT_ATTEMPT_AT, TimestampTzGetDatum(next_lookup(now, 1)));
}

int
atlas_unresolved_add(const AtlasLinkEvent *events, int nevents, TimestampTz now)
{
	AtlasRows	rows;

	atlas_rows_init(&rows, &unresolved_table, atlas_count_references(events, nevents));
	for (int i = 0; i < nevents; i++)
	{
		if (atlas_first_deferred(&events[i]) != NULL)
			continue;
		for (int j = 0; j < events[i].nrefs; j++)
			if (events[i].refs[j].outcome != ATLAS_LINKED)
				add_reference(&rows, &events[i], j, now);
	}
	atlas_rows_insert(&rows);
	return rows.nrows;
}

int
atlas_unresolved_compare(const void *a, const void *b)
{
	return atlas_event_key_compare(&((const AtlasUnresolved *) a)->event,
								   &((const AtlasUnresolved *) b)->event);
}

/* Claims the references that a statement selects. */
static int
claim(AtlasStatement *statement, Datum *values, AtlasUnresolved **items)
{
	int			nitems = (int) atlas_execute(statement, values, NULL, false, 0);

	*items = palloc0(sizeof(AtlasUnresolved) * Max(nitems, 1));
	for (int i = 0; i < nitems; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		AtlasUnresolved *item = &(*items)[i];
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		item->event.id = *DatumGetUUIDP(SPI_getbinval(row, tupdesc, 1, &isnull));
		item->position = DatumGetInt16(SPI_getbinval(row, tupdesc, 2, &isnull));
		item->event.tenant = atlas_result_text(row, tupdesc, 3);
		item->ref.lookup.tenant = item->event.tenant;
		item->ref.object_type = SPI_getvalue(row, tupdesc, 4);
		item->ref.lookup.object_id = atlas_result_text(row, tupdesc, 5);
		item->ref.lookup.external_id = atlas_result_text(row, tupdesc, 6);
		item->attempts = DatumGetInt16(SPI_getbinval(row, tupdesc, 7, &isnull));
		item->first_attempt_at = DatumGetTimestampTz(SPI_getbinval(row, tupdesc, 8, &isnull));
	}
	qsort(*items, nitems, sizeof(AtlasUnresolved), atlas_unresolved_compare);
	return nitems;
}

/* The parameters of the statements that select what is due. */
static void
due_values(int limit, Datum *values)
{
	values[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[1] = Int64GetDatum(limit);
}

int
atlas_unresolved_claim_due(int limit, AtlasUnresolved **items)
{
	Datum		values[2];

	due_values(limit, values);
	return claim(&select_due, values, items);
}

int
atlas_unresolved_due_events(int limit, AtlasEventKey *keys)
{
	Datum		values[2];

	due_values(limit, values);
	(void) atlas_execute(&select_due_events, values, NULL, false, 0);
	atlas_event_keys_take(keys, 1, 2);
	return (int) SPI_processed;
}

/* The parameters of the statements that are about the references of one event. */
static void
given_up_values(const AtlasEventKey *key, const char *reason, Datum *values)
{
	values[0] = PointerGetDatum(key->tenant);
	values[1] = UUIDPGetDatum(&key->id);
	values[2] = CStringGetTextDatum(reason);
}

bool
atlas_unresolved_give_up(const AtlasEventKey *key, const char *reason)
{
	Datum		values[3];

	given_up_values(key, reason, values);
	return atlas_execute(&give_up, values, NULL, false, 0) > 0;
}

int
atlas_unresolved_claim_given_up(const AtlasEventKey *key, const char *reason, AtlasUnresolved **items)
{
	Datum		values[3];

	given_up_values(key, reason, values);
	return claim(&select_given_up, values, items);
}

void
atlas_unresolved_remove(const AtlasUnresolved *items, int nitems)
{
	AtlasColumn tenants;
	AtlasColumn ids;
	AtlasColumn positions;
	Datum		values[3];

	atlas_column_init(&tenants, nitems);
	atlas_column_init(&ids, nitems);
	atlas_column_init(&positions, nitems);
	for (int i = 0; i < nitems; i++)
	{
		if (!atlas_is_resolved(&items[i]))
			continue;
		atlas_column_add_pointer(&tenants, items[i].event.tenant);
		atlas_column_add(&ids, UUIDPGetDatum(&items[i].event.id));
		atlas_column_add(&positions, Int16GetDatum(items[i].position));
	}
	if (ids.nvalues == 0)
		return;
	values[0] = atlas_column_array(&tenants, TEXTOID);
	values[1] = atlas_column_array(&ids, UUIDOID);
	values[2] = atlas_column_array(&positions, INT2OID);
	(void) atlas_execute(&delete_resolved, values, NULL, false, 0);
}

/* The parameters of update_unresolved. */
enum
{
	UPDATE_TENANT_ID,
	UPDATE_EVENT_ID,
	UPDATE_POSITION,
	UPDATE_ATTEMPTS,
	UPDATE_NEXT_ATTEMPT_AT,
	UPDATE_OUTCOME,
	UPDATE_REASON,
	UPDATE_NCOLUMNS
};

/*
 * A table that is locked does not count as an attempt; an event that is not there (yet,
 * in a restore) does.
 */
static void
add_update(AtlasColumn *columns, const AtlasUnresolved *item, TimestampTz now)
{
	bool		locked = item->ref.outcome == ATLAS_DEFERRED;
	int			attempts = Min(item->attempts + (locked ? 0 : 1), PG_INT16_MAX);
	TimestampTz next = next_lookup(now, attempts);

	atlas_column_add_pointer(&columns[UPDATE_TENANT_ID], item->event.tenant);
	atlas_column_add(&columns[UPDATE_EVENT_ID], UUIDPGetDatum(&item->event.id));
	atlas_column_add(&columns[UPDATE_POSITION], Int16GetDatum(item->position));
	atlas_column_add(&columns[UPDATE_ATTEMPTS], Int16GetDatum(attempts));
	if (next <= TimestampTzPlusMilliseconds(item->first_attempt_at,
											(int64) atlas_relink_window * 1000))
		atlas_column_add(&columns[UPDATE_NEXT_ATTEMPT_AT], TimestampTzGetDatum(next));
	else
		atlas_column_add_null(&columns[UPDATE_NEXT_ATTEMPT_AT]);
	atlas_column_add(&columns[UPDATE_OUTCOME], CStringGetTextDatum(outcome_name(&item->ref)));
	atlas_column_add(&columns[UPDATE_REASON], CStringGetTextDatum(
						item->ref.outcome == ATLAS_LINKED ? "the event is not there" : item->ref.reason));
}

void
atlas_unresolved_update(const AtlasUnresolved *items, int nitems, TimestampTz now)
{
	static const Oid types[UPDATE_NCOLUMNS] = {TEXTOID, UUIDOID, INT2OID, INT2OID, TIMESTAMPTZOID,
	TEXTOID, TEXTOID};
	AtlasColumn columns[UPDATE_NCOLUMNS];
	Datum		values[UPDATE_NCOLUMNS];

	for (int i = 0; i < UPDATE_NCOLUMNS; i++)
		atlas_column_init(&columns[i], nitems);
	for (int i = 0; i < nitems; i++)
		if (!atlas_is_resolved(&items[i]))
			add_update(columns, &items[i], now);
	if (columns[0].nvalues == 0)
		return;
	for (int i = 0; i < UPDATE_NCOLUMNS; i++)
		values[i] = atlas_column_array(&columns[i], types[i]);
	(void) atlas_execute(&update_unresolved, values, NULL, false, 0);
}
