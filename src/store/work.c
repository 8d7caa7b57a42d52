/*
 * work.c
 *		What is still to be done about events besides linking them.
 *
 * An event without related objects gets its row with the transaction that submits it. One
 * with related objects gets it from the linker, when it is LINKED or has FAILED. The rows
 * have no index but that of the linker's cursor, so a row that was claimed is changed and
 * removed by its place.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/shmem.h"
#include "base/statement.h"
#include "store/rows.h"
#include "store/rule_flags.h"
#include "store/search_gap.h"
#include "store/work.h"

bool		atlas_search = true;

enum
{
	WORK_EVENT_ID,
	WORK_SUBMITTED_XID,
	WORK_NEXT_ATTEMPT_AT,
	WORK_ATTEMPTS,
	WORK_DEPTH,
	WORK_WHAT,
	WORK_TENANT_ID,
	WORK_LAST_ERROR
};

/* The columns, as the install script has them. */
static AtlasTable work_table = {
	.id = ATLAS_EVENT_WORK,
	.ncolumns = WORK_LAST_ERROR + 1,
	.columns = {
		[WORK_EVENT_ID] = {"event_id", UUIDOID},
		[WORK_SUBMITTED_XID] = {"submitted_xid", XID8OID},
		[WORK_NEXT_ATTEMPT_AT] = {"next_attempt_at", TIMESTAMPTZOID},
		[WORK_ATTEMPTS] = {"attempts", INT2OID},
		[WORK_DEPTH] = {"depth", INT2OID},
		[WORK_WHAT] = {"what", INT2OID},
		[WORK_TENANT_ID] = {"tenant_id", TEXTOID},
		[WORK_LAST_ERROR] = {"last_error", TEXTOID},
	},
};

/* A Tid Scan for each of the rows. */
static AtlasStatement delete_work = {
	.sql =
	"DELETE FROM @extschema@.atlas_event_work w"
	" USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	"              AS k (tenant_id, event_id, place)"
	" WHERE w.ctid OPERATOR(pg_catalog.=) k.place AND " ATLAS_FINDS_KEY("w"),
	.nparameters = ATLAS_KEYS_NPARAMETERS + 1,
	.parameters = {ATLAS_KEYS_PARAMETERS, TIDARRAYOID},
};

/* The same. Rows that say so already are not written anew. */
static AtlasStatement leave_rules = {
	.sql =
	"UPDATE @extschema@.atlas_event_work w"
	"   SET what = $4, next_attempt_at = NULL, last_error = NULL"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	"              AS k (tenant_id, event_id, place)"
	" WHERE w.ctid OPERATOR(pg_catalog.=) k.place AND " ATLAS_FINDS_KEY("w")
	"   AND (w.what OPERATOR(pg_catalog.<>) $4 OR w.next_attempt_at IS NOT NULL)",
	.nparameters = ATLAS_KEYS_NPARAMETERS + 2,
	.parameters = {ATLAS_KEYS_PARAMETERS, TIDARRAYOID, INT2OID},
};

static AtlasStatement postpone_work = {
	.sql =
	"UPDATE @extschema@.atlas_event_work"
	"   SET next_attempt_at = $4, attempts = $5, last_error = $6"
	" WHERE ctid OPERATOR(pg_catalog.=) $3 AND tenant_id OPERATOR(pg_catalog.=) $1"
	"   AND event_id OPERATOR(pg_catalog.=) $2"
	" RETURNING ctid",
	.nparameters = 6,
	.parameters = {TEXTOID, UUIDOID, TIDOID, TIMESTAMPTZOID, INT2OID, TEXTOID},
};

static AtlasStatement reduce_work = {
	.sql =
	"UPDATE @extschema@.atlas_event_work"
	"   SET what = $4, next_attempt_at = pg_catalog.clock_timestamp(), attempts = 0, last_error = NULL"
	" WHERE ctid OPERATOR(pg_catalog.=) $3 AND tenant_id OPERATOR(pg_catalog.=) $1"
	"   AND event_id OPERATOR(pg_catalog.=) $2"
	" RETURNING ctid",
	.nparameters = 4,
	.parameters = {TEXTOID, UUIDOID, TIDOID, INT2OID},
};

bool
atlas_search_is_in_effect(void)
{
	return atlas_search && atlas_shared != NULL;
}

/* What is to be done about a new event: 0 if nothing is. This transaction has an id. */
static int
work_wanted(void)
{
	return (atlas_search_is_in_effect() ? ATLAS_WORK_DOCUMENT : 0) |
		(atlas_shared != NULL && atlas_any_rule_enabled() ? ATLAS_WORK_RULES : 0);
}

/* ----- Adding ----- */

void
atlas_work_rows_init(AtlasRows *rows, int size)
{
	atlas_rows_init(rows, &work_table, size);
}

void
atlas_work_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const text *tenant, uint64 xid,
					int depth, int what)
{
	atlas_rows_add(rows);
	atlas_rows_set_pointer(rows, WORK_EVENT_ID, event_id);
	atlas_rows_set(rows, WORK_SUBMITTED_XID, UInt64GetDatum(xid));
	atlas_rows_set(rows, WORK_ATTEMPTS, Int16GetDatum(0));
	atlas_rows_set(rows, WORK_DEPTH, Int16GetDatum(depth));
	atlas_rows_set(rows, WORK_WHAT, Int16GetDatum(what));
	atlas_rows_set_pointer(rows, WORK_TENANT_ID, tenant);
}

void
atlas_new_work_begin(AtlasNewWork *work, int size)
{
	work->xid = U64FromFullTransactionId(GetTopFullTransactionId());
	work->what = work_wanted();
	work->first = NULL;
	if (work->what != 0)
		atlas_work_rows_init(&work->rows, size);
}

void
atlas_new_work_add(AtlasNewWork *work, const pg_uuid_t *event_id, const text *tenant, int depth)
{
	if (work->first == NULL)
		work->first = event_id;
	if (work->what != 0)
		atlas_work_rows_add(&work->rows, event_id, tenant, work->xid, depth, work->what);
}

int
atlas_new_work_write(AtlasNewWork *work)
{
	if (work->first == NULL)
		return 0;
	if ((work->what & ATLAS_WORK_DOCUMENT) == 0)
		atlas_search_gap_note(work->first);
	if (work->what == 0)
		return 0;
	atlas_rows_write(&work->rows);
	return work->rows.nrows;
}

void
atlas_work_add_late(const AtlasEventKey *keys, int nkeys)
{
	uint64		xid;
	AtlasRows	rows;

	if (nkeys == 0)
		return;
	xid = U64FromFullTransactionId(GetTopFullTransactionId());
	if ((work_wanted() & ATLAS_WORK_RULES) == 0)
		return;
	atlas_work_rows_init(&rows, nkeys);
	for (int i = 0; i < nkeys; i++)
		if (i == 0 || atlas_event_key_compare(&keys[i - 1], &keys[i]) != 0)
			atlas_work_rows_add(&rows, &keys[i].id, keys[i].tenant, xid, keys[i].depth, ATLAS_WORK_RULES);
	atlas_rows_write(&rows);
}

/* ----- Putting off and removing ----- */

void
atlas_work_remove(const AtlasEventKey *keys, int nkeys)
{
	ItemPointerData *places = palloc(sizeof(ItemPointerData) * Max(nkeys, 1));
	int		   *left = palloc(sizeof(int) * Max(nkeys, 1));
	AtlasEventKey *keys_left = palloc(sizeof(AtlasEventKey) * Max(nkeys, 1));
	int			nleft;
	Datum		values[ATLAS_KEYS_NPARAMETERS + 1];

	if (nkeys == 0)
		return;
	for (int i = 0; i < nkeys; i++)
		places[i] = keys[i].place;
	nleft = atlas_rows_delete(&work_table, places, nkeys, left);
	if (nleft == 0)
		return;
	for (int i = 0; i < nleft; i++)
		keys_left[i] = keys[left[i]];
	atlas_event_keys_values(keys_left, nleft, values);
	values[ATLAS_KEYS_NPARAMETERS] = atlas_event_keys_places(keys_left, nleft);
	(void) atlas_execute(&delete_work, values, NULL, false, 0);
}

/* What a statement that has changed the row of a key returns: where it is now. */
static void
take_place(AtlasEventKey *key)
{
	bool		isnull;

	key->place = *(ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[0],
															  SPI_tuptable->tupdesc, 1, &isnull));
}

void
atlas_work_leave_rules(const AtlasEventKey *keys, int nkeys)
{
	Datum		values[ATLAS_KEYS_NPARAMETERS + 2];

	if (nkeys == 0)
		return;
	atlas_event_keys_values(keys, nkeys, values);
	values[ATLAS_KEYS_NPARAMETERS] = atlas_event_keys_places(keys, nkeys);
	values[ATLAS_KEYS_NPARAMETERS + 1] = Int16GetDatum(ATLAS_WORK_RULES);
	(void) atlas_execute(&leave_rules, values, NULL, false, 0);
}

void
atlas_work_reduce(AtlasEventKey *key, int what)
{
	Datum		values[4];

	values[0] = PointerGetDatum(key->tenant);
	values[1] = UUIDPGetDatum(&key->id);
	values[2] = PointerGetDatum(&key->place);
	values[3] = Int16GetDatum(what);
	if (atlas_execute(&reduce_work, values, NULL, false, 0) == 0)
		return;
	key->what = what;
	key->attempts = 0;
	take_place(key);
}

void
atlas_work_postpone(AtlasEventKey *key, int attempts, const char *reason, TimestampTz until)
{
	Datum		values[6];

	values[0] = PointerGetDatum(key->tenant);
	values[1] = UUIDPGetDatum(&key->id);
	values[2] = PointerGetDatum(&key->place);
	values[3] = TimestampTzGetDatum(until);
	values[4] = Int16GetDatum(attempts);
	values[5] = CStringGetTextDatum(reason);
	if (atlas_execute(&postpone_work, values, NULL, false, 0) == 0)
		return;
	key->attempts = attempts;
	take_place(key);
}
