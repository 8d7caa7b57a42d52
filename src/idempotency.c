/*
 * idempotency.c
 *		Idempotency keys: a retry gets the event that was stored first.
 *
 * A key that is known answers before anything is looked up, so that a retry
 * succeeds also when the object has gone since. Keys are taken in ascending
 * order within a call, so that two calls with the same keys in different order
 * do not deadlock; whoever comes second waits for the first to commit and then
 * sees its event.
 *
 * What "the same event" is, is decided by a hash of all that was submitted.
 * The time counts only if it was given: a retry without it is no new event.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "extension.h"
#include "port/pg_bswap.h"
#include "submit.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "values.h"

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

/* Adds a value to the hash, with its length, or that there is none. */
static void
hash_bytes_of(pg_cryptohash_ctx *context, const void *data, int length)
{
	uint32		header = pg_hton32(data == NULL ? PG_UINT32_MAX : (uint32) length);

	if (pg_cryptohash_update(context, (const uint8 *) &header, sizeof(header)) < 0 ||
		(data != NULL && pg_cryptohash_update(context, data, length) < 0))
		elog(ERROR, "could not compute hash");
}

static void
hash_text(pg_cryptohash_ctx *context, const text *value)
{
	hash_bytes_of(context, value ? VARDATA_ANY(value) : NULL,
				  value ? VARSIZE_ANY_EXHDR(value) : 0);
}

static void
hash_reference(pg_cryptohash_ctx *context, const AtlasReference *reference)
{
	hash_bytes_of(context, reference->object_type, strlen(reference->object_type));
	hash_text(context, reference->object_id);
	hash_text(context, reference->external_id);
}

static void
hash_fields(pg_cryptohash_ctx *context, const AtlasEvent *event)
{
	uint64		time = pg_hton64((uint64) event->occurred_at);
	char	   *payload = NULL;

	if (event->payload != NULL)
		payload = JsonbToCString(NULL, &event->payload->root, VARSIZE(event->payload));
	hash_reference(context, &event->primary);
	hash_text(context, event->name);
	hash_text(context, event->description);
	hash_text(context, event->icon);
	hash_bytes_of(context, payload, payload ? strlen(payload) : 0);
	hash_bytes_of(context, event->occurred_at_given ? &time : NULL, sizeof(time));
	for (int i = 0; i < event->nrelated; i++)
		hash_reference(context, &event->related[i]);
}

static bytea *
hash_event(const AtlasEvent *event)
{
	bytea	   *result = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL || pg_cryptohash_init(context) < 0)
		elog(ERROR, "could not compute hash");
	PG_TRY();
	{
		hash_fields(context, event);
		if (pg_cryptohash_final(context, (uint8 *) VARDATA(result), PG_SHA256_DIGEST_LENGTH) < 0)
			elog(ERROR, "could not compute hash");
	}
	PG_FINALLY();
	{
		pg_cryptohash_free(context);
	}
	PG_END_TRY();
	SET_VARSIZE(result, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	return result;
}

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

/* The submissions with a key that are still open, sorted by key. */
static AtlasSubmission **
open_with_key(AtlasSubmission *submissions, int nsubmissions, int *nfound)
{
	AtlasSubmission **found = palloc(sizeof(AtlasSubmission *) * Max(nsubmissions, 1));

	*nfound = 0;
	for (int i = 0; i < nsubmissions; i++)
		if (atlas_is_open(&submissions[i]) && submissions[i].event.idempotency_key != NULL)
			found[(*nfound)++] = &submissions[i];
	qsort(found, *nfound, sizeof(AtlasSubmission *), compare_submissions);
	return found;
}

/* The key was used before, for an event with this hash. */
static void
resolve(AtlasSubmission *submission, const pg_uuid_t *event_id, const bytea *hash)
{
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
atlas_find_replays(AtlasSubmission *submissions, int nsubmissions)
{
	int			nsorted;
	AtlasSubmission **sorted = open_with_key(submissions, nsubmissions, &nsorted);

	for (int i = 0; i < nsorted; i++)
		sorted[i]->hash = hash_event(&sorted[i]->event);
	resolve_known(sorted, nsorted);
}

void
atlas_claim_keys(AtlasSubmission *submissions, int nsubmissions)
{
	int			nsorted;
	AtlasSubmission **sorted = open_with_key(submissions, nsubmissions, &nsorted);
	AtlasSubmission *first = NULL;
	AtlasColumn keys;
	AtlasColumn event_ids;
	AtlasColumn hashes;
	Datum		values[4];

	if (nsorted == 0)
		return;

	/* Within the call, the first event with a key is the one that is stored. */
	atlas_column_init(&keys, nsorted);
	atlas_column_init(&event_ids, nsorted);
	atlas_column_init(&hashes, nsorted);
	for (int i = 0; i < nsorted; i++)
	{
		if (first != NULL && atlas_compare_text(first->event.idempotency_key,
										  sorted[i]->event.idempotency_key) == 0)
			continue;
		first = sorted[i];
		atlas_column_add_pointer(&keys, first->event.idempotency_key);
		atlas_column_add_pointer(&event_ids, &first->event_id);
		atlas_column_add_pointer(&hashes, first->hash);
	}
	values[0] = PointerGetDatum(atlas_session_tenant());
	values[1] = atlas_column_array(&keys, TEXTOID);
	values[2] = atlas_column_array(&event_ids, UUIDOID);
	values[3] = atlas_column_array(&hashes, BYTEAOID);

	/* All taken, none twice: the usual case. Else look who was first. */
	if (atlas_execute(&insert_keys, values, NULL, false, 0) == nsorted)
		return;
	for (int i = 0; i < nsorted; i++)
	{
		pg_uuid_t	own = sorted[i]->event_id;

		resolve_known(&sorted[i], 1);
		if (sorted[i]->duplicate && memcmp(&own, &sorted[i]->event_id, UUID_LEN) == 0)
			sorted[i]->duplicate = false;
	}
}
