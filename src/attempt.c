/*
 * attempt.c
 *		Trying, failing and trying again.
 *
 * Used by the linking, in a worker or in a session: both can have a transaction
 * around the subtransactions made here, whose locks on the queue they keep.
 */
#include "postgres.h"

#include "access/xact.h"
#include "attempt.h"
#include "common/pg_prng.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

static ErrorData *
run_in_subtransaction(void (*function) (void *), void *argument, bool undo)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		function(argument);
		if (undo)
			RollbackAndReleaseCurrentSubTransaction();
		else
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

ErrorData *
atlas_try(void (*function) (void *), void *argument)
{
	return run_in_subtransaction(function, argument, false);
}

ErrorData *
atlas_try_and_undo(void (*function) (void *), void *argument)
{
	return run_in_subtransaction(function, argument, true);
}

typedef struct Range
{
	void	   *batch;
	int			from;
	int			to;
	AtlasProcess process;
} Range;

static void
process_range(void *argument)
{
	Range	   *range = argument;

	range->process(range->batch, range->from, range->to);
}

void
atlas_bisect(void *batch, int from, int to, AtlasProcess process, AtlasFail fail)
{
	Range		range = {batch, from, to, process};
	ErrorData  *error = atlas_try(process_range, &range);
	int			middle = from + (to - from) / 2;

	if (error == NULL)
		return;
	if (atlas_stops_batch(error))
		ReThrowError(error);
	if (to - from == 1)
	{
		fail(batch, from, error);
		return;
	}
	atlas_bisect(batch, from, middle, process, fail);
	atlas_bisect(batch, middle, to, process, fail);
}

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
