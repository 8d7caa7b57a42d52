/*
 * fingerprint.c
 *		The hash of all that was submitted: what "the same event" is to an
 *		idempotency key.
 *
 * A retry may be written by another library: with other escapes, other blanks, keys
 * in another order, 50.0 for 50. So the values are hashed, and not how they were
 * written. Payloads are the same if jsonb calls them equal. Types are folded, and
 * built-in aliases of related objects are resolved. A registered alias is not, because
 * it may be registered between an event and its retry. The order of related objects
 * counts. The time counts only if it was given: a retry without it is not a new event.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "port/pg_bswap.h"

#include "event/jsonb_text.h"
#include "objects/registry.h"
#include "submit/fingerprint.h"

/* Bytes are collected in a buffer, because a call of the hash function for every few bytes would take longer. */
typedef struct Fingerprint
{
	pg_cryptohash_ctx *context;
	Size		used;
	uint8		buffer[512];
} Fingerprint;

/* Adds bytes to the hash. */
static void
add_to_hash(Fingerprint *hash, const void *data, Size length)
{
	if (length > 0 && pg_cryptohash_update(hash->context, data, length) < 0)
		elog(ERROR, "could not compute hash");
}

/* Hashes what has been collected so far. */
static void
flush_buffer(Fingerprint *hash)
{
	add_to_hash(hash, hash->buffer, hash->used);
	hash->used = 0;
}

/* Collects bytes in the buffer. */
static void
take_bytes(void *taker, const void *bytes, Size length)
{
	Fingerprint *hash = taker;

	if (length > sizeof(hash->buffer) - hash->used)
		flush_buffer(hash);
	if (length > sizeof(hash->buffer))
		add_to_hash(hash, bytes, length);
	else
	{
		memcpy(hash->buffer + hash->used, bytes, length);
		hash->used += length;
	}
}

/* Adds a value to the hash, with its length, or that there is none. */
static void
hash_bytes_of(Fingerprint *hash, const void *data, Size length)
{
	uint32		header = pg_hton32(data == NULL ? PG_UINT32_MAX : (uint32) length);

	take_bytes(hash, &header, sizeof(header));
	if (data != NULL)
		take_bytes(hash, data, length);
}

/* Hashes a text with its length, so that no two fields can be taken for one. */
static void
hash_text(Fingerprint *hash, const text *value)
{
	hash_bytes_of(hash, value ? VARDATA_ANY(value) : NULL,
				  value ? VARSIZE_ANY_EXHDR(value) : 0);
}

/* Hashes the value, however it was written. */
static void
hash_jsonb(Fingerprint *hash, Jsonb *value)
{
	take_bytes(hash, value == NULL ? "0" : "1", 1);
	if (value != NULL)
		atlas_jsonb_canonical(&value->root, take_bytes, hash);
}

/* Hashes what an object was named by. */
static void
hash_reference(Fingerprint *hash, const AtlasReference *reference)
{
	const char *type = reference->object_type;
	const AtlasBuiltInType *built_in = type == NULL ? NULL : atlas_built_in_type(type);

	if (built_in != NULL)
		type = built_in->name;
	hash_bytes_of(hash, type, type == NULL ? 0 : strlen(type));
	hash_text(hash, reference->object_id);
	hash_text(hash, reference->external_id);
}

/* Hashes the fields of an event, in a fixed order. */
static void
hash_fields(Fingerprint *hash, const AtlasEvent *event)
{
	uint64		time = pg_hton64((uint64) event->occurred_at);

	hash_reference(hash, &event->primary);
	hash_text(hash, event->name);
	hash_text(hash, event->description);
	hash_text(hash, event->icon);
	hash_jsonb(hash, event->payload);
	hash_bytes_of(hash, event->occurred_at_given ? &time : NULL, sizeof(time));
	for (int i = 0; i < event->nrelated; i++)
		hash_reference(hash, &event->related[i]);
	hash_jsonb(hash, event->related_as_sent);
	flush_buffer(hash);
}

bytea *
atlas_fingerprint(const AtlasEvent *event)
{
	bytea	   *result = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	Fingerprint hash;

	hash.used = 0;
	hash.context = pg_cryptohash_create(PG_SHA256);
	if (hash.context == NULL || pg_cryptohash_init(hash.context) < 0)
		elog(ERROR, "could not compute hash");
	PG_TRY();
	{
		hash_fields(&hash, event);
		if (pg_cryptohash_final(hash.context, (uint8 *) VARDATA(result),
								PG_SHA256_DIGEST_LENGTH) < 0)
			elog(ERROR, "could not compute hash");
	}
	PG_FINALLY();
	{
		pg_cryptohash_free(hash.context);
	}
	PG_END_TRY();
	SET_VARSIZE(result, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	return result;
}
