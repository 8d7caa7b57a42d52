/*
 * subtransaction.c
 *		Doing something in a subtransaction, and finding out which part of it fails.
 *
 * The linking uses this, in a worker or in a session. Both have a transaction around
 * the subtransactions that are made here, and its locks on the queue are kept.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/retry.h"
#include "base/subtransaction.h"

/*
 * Runs a function in a subtransaction, which is rolled back if it fails, or if it is to
 * be undone.
 */
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

/* A batch of which at least one item fails. */
typedef struct Bisection
{
	void	   *batch;
	AtlasProcess process;
	AtlasFail	fail;
	bool	   *failed;			/* which items, from the first of the batch */
} Bisection;

typedef struct Range
{
	const Bisection *bisection;
	int			from;
	int			to;
	bool		kept;
} Range;

/* The body of the subtransaction of a trial. */
static void
process_range(void *argument)
{
	const Range *range = argument;

	range->bisection->process(range->bisection->batch, range->from, range->to, range->kept);
}

/* Processes the runs of items that have not failed. */
static void
process_others(void *argument)
{
	const Range *range = argument;
	const bool *failed = range->bisection->failed;
	int			end;

	for (int start = range->from; start < range->to; start = end)
	{
		for (end = start; end < range->to && !failed[end]; end++)
			;
		if (end > start)
			range->bisection->process(range->bisection->batch, start, end, true);
		else
			end++;
	}
}

/* Tries some items in a subtransaction, to keep what they do or not; false if they fail. */
static bool
try_range(Bisection *bisection, void (*function) (void *), int from, int to, bool kept)
{
	Range		range = {bisection, from, to, kept};
	ErrorData  *error = kept ? atlas_try(function, &range) : atlas_try_and_undo(function, &range);

	if (error == NULL)
		return true;
	if (atlas_stops_batch(error))
		ReThrowError(error);
	if (to - from == 1)
	{
		bisection->failed[from] = true;
		bisection->fail(bisection->batch, from, error);
	}
	return false;
}

/* Finds those that fail. */
static void
bisect(Bisection *bisection, int from, int to)
{
	int			middle = from + (to - from) / 2;

	if (try_range(bisection, process_range, from, to, false) || to - from == 1)
		return;
	bisect(bisection, from, middle);
	bisect(bisection, middle, to);
}

void
atlas_bisect(void *batch, int nitems, AtlasProcess process, AtlasFail fail)
{
	Bisection	bisection = {batch, process, fail, palloc0(sizeof(bool) * nitems)};
	int			middle = nitems / 2;

	if (try_range(&bisection, process_range, 0, nitems, true) || nitems == 1)
		return;
	bisect(&bisection, 0, middle);
	bisect(&bisection, middle, nitems);
	if (try_range(&bisection, process_others, 0, nitems, true))
		return;

	/* They fail together, though none does alone. */
	for (int i = 0; i < nitems; i++)
		if (!bisection.failed[i])
			(void) try_range(&bisection, process_range, i, i + 1, true);
}
