/*
 * retry.c
 *		Which errors may pass, and how long to wait before the next attempt.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/timestamp.h"

#include "base/retry.h"

bool
atlas_stops_batch(const ErrorData *error)
{
	return atlas_is_cancel(error) || atlas_is_lock_conflict(error);
}

bool
atlas_is_lock_conflict(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK;
}

bool
atlas_is_shortage(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES ||
		error->sqlerrcode == ERRCODE_OBJECT_IN_USE;
}

bool
atlas_is_cancel(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED;
}

TimestampTz
atlas_backoff(TimestampTz now, int first_seconds, int attempts, int max_seconds)
{
	double		seconds = first_seconds;
	double		spread = 0.75 + 0.5 * pg_prng_double(&pg_global_prng_state);

	for (int i = 1; i < attempts && seconds < max_seconds; i++)
		seconds *= 2;
	seconds = Min(seconds, max_seconds) * spread;
	return TimestampTzPlusMilliseconds(now, (int64) (seconds * 1000));
}
