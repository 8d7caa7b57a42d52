/*
 * idempotency.c
 *		Idempotency keys: a retry gets the event that was stored first.
 *
 * A key that is known answers before anything is looked up, so that a retry
 * succeeds also when the object has gone since. Keys are taken in ascending
 * order within a call, so that two calls with the same keys in different order
 * do not deadlock. The session that comes second waits for the first one to commit,
 * and then sees its event.
 *
 * What "the same event" is, is decided by a hash of all that was submitted: see
 * fingerprint.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/statement.h"
#include "base/tenant.h"
#include "submit/fingerprint.h"
#include "submit/idempotency.h"

static AtlasStatement select_keys = {
	.sql =
	"SELECT idempotency_key, event_id, event_hash"
	"  FROM @extschema@.atlas_event_keys"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1"
	"   AND idempotency_key OPERATOR(pg_catalog.=) ANY ($2)"
	" ORDER BY idempotency_key",
	.nparameters = 2,
	.parameters = {TEXTOID, TEXTARRAYOID},
};

static AtlasStatement insert_keys = {
	.sql =
	"INSERT INTO @extschema@.atlas_event_keys (tenant_id, idempotency_key, event_id, event_hash)"
	" SELECT $1, k.idempotency_key, k.event_id, k.event_hash"
	"   FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))"
	"        WITH ORDINALITY AS k (idempotency_key, event_id, event_hash, position)"
	"  ORDER BY k.position"
	" ON CONFLICT DO NOTHING"
	" RETURNING event_id",
	.nparameters = 4,
	.parameters = {TEXTOID, TEXTARRAYOID, UUIDARRAYOID, BYTEAARRAYOID},
};

/* By key, and in the order of the call where keys are equal. */
static int
compare_submissions(const void *a, const void *b)
{
	const AtlasSubmission *left = *(AtlasSubmission *const *) a;
	const AtlasSubmission *right = *(AtlasSubmission *const *) b;
	int			result = atlas_compare_text(left->event.idempotency_key, right->event.idempotency_key);

	if (result != 0)
		return result;
	return left < right ? -1 : 1;
}

/* The submissions that have a key, sorted by key. */
static AtlasSubmission **
submissions_with_key(const AtlasOpenSubmissions *open, int *nfound)
{
	AtlasSubmission **found = palloc(sizeof(AtlasSubmission *) * Max(open->nitems, 1));

	*nfound = 0;
	for (int i = 0; i < open->nitems; i++)
		if (open->items[i]->event.idempotency_key != NULL)
			found[(*nfound)++] = open->items[i];
	qsort(found, *nfound, sizeof(AtlasSubmission *), compare_submissions);
	return found;
}

/* Is this the first of the submissions with its key? They are sorted by key. */
static bool
is_first_with_key(AtlasSubmission *const *sorted, int index)
{
	return index == 0 || atlas_compare_text(sorted[index - 1]->event.idempotency_key,
											sorted[index]->event.idempotency_key) != 0;
}

/* The key belongs to an event with this hash: stored before, or the submission's own. */
static void
resolve(AtlasSubmission *submission, const pg_uuid_t *event_id, const bytea *hash)
{
	submission->key_resolved = true;
	if (atlas_event_id_compare(event_id, &submission->event_id) == 0)
		return;
	if (atlas_compare_text((const text *) hash, (const text *) submission->hash) != 0)
		atlas_refuse(&submission->event.error, ATLAS_CONFLICT,
					 "The idempotency key was used before, with a different event.",
					 "Repeat an event unchanged, or give a new event a new key.");
	else
	{
		submission->event_id = *event_id;
		submission->duplicate = true;
	}
}

/* Resolves those whose key is in the table; both are sorted by key. */
static void
resolve_known(AtlasSubmission **sorted, int nsorted)
{
	Datum		values[2];
	AtlasColumn keys;
	int			next = 0;

	if (nsorted == 0)
		return;
	atlas_column_init(&keys, nsorted);
	for (int i = 0; i < nsorted; i++)
		if (is_first_with_key(sorted, i))
			atlas_column_add_pointer(&keys, sorted[i]->event.idempotency_key);
	values[0] = PointerGetDatum(atlas_session_tenant());
	values[1] = atlas_column_array(&keys, TEXTOID);
	(void) atlas_execute(&select_keys, values, NULL, false, 0);

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[row];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		bool		isnull;
		text	   *key = DatumGetTextPP(SPI_getbinval(tuple, tupdesc, 1, &isnull));
		pg_uuid_t  *event_id = DatumGetUUIDP(SPI_getbinval(tuple, tupdesc, 2, &isnull));
		bytea	   *hash = DatumGetByteaPP(SPI_getbinval(tuple, tupdesc, 3, &isnull));

		while (next < nsorted && atlas_compare_text(sorted[next]->event.idempotency_key, key) < 0)
			next++;
		for (; next < nsorted && atlas_compare_text(sorted[next]->event.idempotency_key, key) == 0; next++)
			resolve(sorted[next], event_id, hash);
	}
}

void
atlas_find_replays(const AtlasOpenSubmissions *open)
{
	int			nsorted;
	AtlasSubmission **sorted = submissions_with_key(open, &nsorted);

	for (int i = 0; i < nsorted; i++)
		sorted[i]->hash = atlas_fingerprint(&sorted[i]->event);
	resolve_known(sorted, nsorted);
}

/*
 * Writes the keys that nobody has, for the first submission with each. Returns whether
 * that was one for each of the submissions.
 */
static bool
insert_free_keys(AtlasSubmission *const *sorted, int nsorted)
{
	AtlasColumn keys;
	AtlasColumn event_ids;
	AtlasColumn hashes;
	Datum		values[4];

	atlas_column_init(&keys, nsorted);
	atlas_column_init(&event_ids, nsorted);
	atlas_column_init(&hashes, nsorted);
	for (int i = 0; i < nsorted; i++)
	{
		if (!is_first_with_key(sorted, i))
			continue;
		atlas_column_add_pointer(&keys, sorted[i]->event.idempotency_key);
		atlas_column_add_pointer(&event_ids, &sorted[i]->event_id);
		atlas_column_add_pointer(&hashes, sorted[i]->hash);
	}
	values[0] = PointerGetDatum(atlas_session_tenant());
	values[1] = atlas_column_array(&keys, TEXTOID);
	values[2] = atlas_column_array(&event_ids, UUIDOID);
	values[3] = atlas_column_array(&hashes, BYTEAOID);
	return atlas_execute(&insert_keys, values, NULL, false, 0) == nsorted;
}

/* Leaves those whose key belongs to nobody, in their order. */
static int
keep_unresolved(AtlasSubmission **sorted, int nsorted)
{
	int			nkept = 0;

	for (int i = 0; i < nsorted; i++)
		if (!sorted[i]->key_resolved)
			sorted[nkept++] = sorted[i];
	return nkept;
}

/*
 * Usually all keys are free and no key occurs twice. Otherwise one query finds out to
 * which events they belong. A key that belonged to another event a moment ago can be
 * gone by then. It is written once more, so that no event is stored without its key.
 */
void
atlas_claim_keys(const AtlasOpenSubmissions *open)
{
	int			nsorted;
	AtlasSubmission **sorted = submissions_with_key(open, &nsorted);

	while (nsorted > 0 && !insert_free_keys(sorted, nsorted))
	{
		CHECK_FOR_INTERRUPTS();
		resolve_known(sorted, nsorted);
		nsorted = keep_unresolved(sorted, nsorted);
	}
}
