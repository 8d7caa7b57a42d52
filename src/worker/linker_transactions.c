/*
 * linker_transactions.c
 *		The transactions of a linker.
 *
 * Each step begins by locking the extension, so that DROP EXTENSION waits for the end of
 * a batch, and runs as the extension's owner. Between two steps the linker holds no lock
 * and can leave.
 *
 * After a linker was killed, each batch is noted in a transaction of its own before it is
 * begun: see linker_note.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/extension.h"
#include "base/identity.h"
#include "base/retry.h"
#include "base/statement.h"
#include "base/subtransaction.h"
#include "link/link_batch.h"
#include "link/put_off.h"
#include "link/retry_unresolved.h"
#include "link/unresolved.h"
#include "store/queue.h"
#include "work/rebuild.h"
#include "work/work_batch.h"
#include "worker/housekeeping.h"
#include "worker/linker_note.h"
#include "worker/linker_transactions.h"
#include "worker/worker.h"

#define CAREFUL_SECONDS 600		/* for which batches are noted after a kill */
#define KILLED_MESSAGE "the linker was killed while it linked this event"
#define EVICTED_MESSAGE "the linker came to no end with this event and was terminated"
#define KILLED_MESSAGE_OF_WORK "the linker was killed while it indexed this event"
#define EVICTED_MESSAGE_OF_WORK "the linker came to no end with the document of this event and was terminated"
#define WORK_LOCK_TIMEOUT "100ms"

#define FIRST_WORK 250			/* events in a batch of the second step, at first */
#define WORK_FOR_LINKS 4		/* at most, for each event in a batch of the first step */
#define MILLISECONDS_OF_WORK 200	/* that such a batch may take */
#define MILLISECONDS_BESIDE_LINKS 50
#define WORK_REST_MILLISECONDS 2000	/* after a lock was in the way */
#define WORK_ERROR_REST_MILLISECONDS 30000	/* after another error */

AtlasLinker atlas_linker = {.next_due = DT_NOEND};

static AtlasStatement select_subscription = {
	.sql = "SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid OPERATOR(pg_catalog.=) $1",
	.nparameters = 1,
	.parameters = {OIDOID},
};

/*
 * Begins a transaction as the owner of the extension. Returns false if there is no
 * extension.
 */
static bool
begin_step(const char *activity, AtlasIdentity *saved)
{
	atlas_worker_is_busy = true;
	pgstat_report_activity(STATE_RUNNING, activity);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (!atlas_extension_lock())
	{
		atlas_linker.has_no_extension = true;
		atlas_linker.finished = true;
		CommitTransactionCommand();
		atlas_worker_is_busy = false;
		return false;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	atlas_become_owner(saved);
	return true;
}

/* Commits the transaction. */
static void
end_step(const AtlasIdentity *saved)
{
	atlas_return(saved);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	atlas_worker_is_busy = false;
}

/* May this linker link here? If not, atlas_linker.exit_state says why. */
static bool
may_link(void)
{
	Datum		value = ObjectIdGetDatum(atlas_relation(ATLAS_EVENT_QUEUE));

	if (!atlas_linking)
	{
		atlas_linker.exit_state = ATLAS_LINKER_OFF;
		return false;
	}
	if (atlas_execute(&select_subscription, &value, NULL, true, 1) > 0)
	{
		atlas_linker.exit_state = ATLAS_LINKER_SUBSCRIBED;
		return false;
	}
	return true;
}

/* Housekeeping has a transaction of its own, so that its problems do not stop linking. */
static bool
keep_house(TimestampTz now)
{
	AtlasIdentity saved;

	if (!begin_step("making partitions", &saved))
		return false;
	atlas_keep_house(atlas_linker.slot, now);
	end_step(&saved);
	return true;
}

/*
 * Whether linking is allowed is asked in each round, because settings and subscriptions
 * change.
 */
bool
atlas_step_round(bool *has_work)
{
	AtlasIdentity saved;
	TimestampTz now = GetCurrentTimestamp();
	bool		stay;

	if (!begin_step("looking for work", &saved))
		return false;
	stay = may_link();
	if (stay)
	{
		*has_work = atlas_queue_has_work();
		atlas_linker.next_due = atlas_queue_next_due();
	}
	end_step(&saved);
	atlas_linker.cursor.sweep_next = true;
	atlas_linker.work_cursor.sweep_next = true;
	atlas_linker.next_round = TimestampTzPlusMilliseconds(now, (int64) atlas_naptime * 1000);

	/* A subscription needs the partitions as well. */
	if ((stay || atlas_linker.exit_state == ATLAS_LINKER_SUBSCRIBED) && !keep_house(now))
		return false;
	return stay;
}

/*
 * Reads which events the linker before was at work on, if it did not end in good order. One
 * that was terminated did so, as far as its events are concerned, unless it was
 * terminated because it came to no end.
 */
static bool
read_note(AtlasBacklog *backlog, AtlasEventKey **keys, int *nkeys)
{
	bool		was_terminated;
	bool		found = atlas_linker_note_read(backlog, keys, nkeys);

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	was_terminated = atlas_linker.slot->was_terminated;
	atlas_linker.was_evicted = atlas_linker.slot->was_evicted;
	LWLockRelease(atlas_shared->lock);
	/* One by one, so that the next linker knows which event this one is stuck with. */
	if (atlas_linker.was_evicted)
		atlas_linker.batch_size = 1;
	if (!was_terminated || atlas_linker.was_evicted)
		return found;
	*nkeys = 0;
	return false;
}

/* Writes the note that the next linker finds if this one is killed. */
bool
atlas_step_begin(AtlasBacklog *backlog, AtlasEventKey **suspects, int *nsuspects)
{
	AtlasIdentity saved;
	AtlasEventKey *keys;

	if (!begin_step("beginning", &saved))
		return false;
	if (read_note(backlog, &keys, nsuspects))
		atlas_linker.careful_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													CAREFUL_SECONDS * INT64CONST(1000));
	else
		atlas_linker_note_write(ATLAS_TO_LINK, NULL, 0);
	*suspects = atlas_event_keys_copy(keys, *nsuspects, TopMemoryContext);
	atlas_linker.state_noted = true;
	end_step(&saved);
	return true;
}

/* Adds to the counters of the status view. */
static void
add_counts(const AtlasLinkCounts *counts)
{
	pg_atomic_fetch_add_u64(&atlas_linker.slot->linked, counts->linked);
	pg_atomic_fetch_add_u64(&atlas_linker.slot->not_found, counts->not_found);
}

/*
 * The attempt is counted before it is made, in a transaction of its own. So an event is
 * FAILED only after the last attempt has been made and has ended the linker as well.
 * Unresolved references are given up before they are looked up once more.
 */
static bool
link_suspect(AtlasEventKey key)
{
	AtlasIdentity saved;
	const char *reason = atlas_linker.was_evicted ? EVICTED_MESSAGE : KILLED_MESSAGE;
	AtlasLinkCounts counts = {0};
	bool		queued;
	bool		unresolved;

	if (!begin_step("counting an attempt", &saved))
		return false;
	queued = atlas_queue_claim_again(&key, 1) > 0;
	if (queued)
		atlas_link_failed(&key, false, reason);
	unresolved = atlas_unresolved_give_up(&key, reason);
	if (queued || unresolved)
		ForceSyncCommit();
	end_step(&saved);
	if (!queued && !unresolved)
		return true;

	if (!begin_step("linking one event", &saved))
		return false;
	if (atlas_queue_claim_again(&key, 1) > 0)
		atlas_link(&key, 1, &counts);
	atlas_retry_given_up(&key, reason);
	ForceSyncCommit();
	end_step(&saved);
	add_counts(&counts);
	return true;
}

/*
 * The same in the second step. The row is found by its place, which counting an attempt
 * changes, so that what is still suspected is noted anew with it.
 */
static bool
work_on_suspect(AtlasEventKey *suspects, int nsuspects)
{
	AtlasIdentity saved;
	const char *reason = atlas_linker.was_evicted ? EVICTED_MESSAGE_OF_WORK : KILLED_MESSAGE_OF_WORK;
	AtlasEventKey key = suspects[0];
	bool		goes_on = false;

	if (!begin_step("counting an attempt", &saved))
		return false;
	if (atlas_work_claim_again(&key, 1) > 0)
	{
		goes_on = atlas_work_failed(&key, false, reason);
		suspects[0].place = key.place;
		atlas_linker_note_write(ATLAS_TO_WORK_ON, suspects, nsuspects);
	}
	end_step(&saved);
	if (!goes_on)
		return true;

	key = suspects[0];
	if (!begin_step("indexing one event", &saved))
		return false;
	if (atlas_work_claim_again(&key, 1) > 0)
		(void) atlas_work_on(&key, 1);
	ForceSyncCommit();
	end_step(&saved);
	return true;
}

bool
atlas_step_suspect(AtlasBacklog backlog, AtlasEventKey *suspects, int nsuspects)
{
	return backlog == ATLAS_TO_LINK ? link_suspect(suspects[0]) : work_on_suspect(suspects, nsuspects);
}

/* Notes a batch for the linker after this one, unless there is nothing to note. */
static void
note_batch(AtlasBacklog backlog, const AtlasEventKey *keys, int nkeys)
{
	if (nkeys > 0 || atlas_linker.batch_noted)
		atlas_linker_note_write(backlog, keys, nkeys);
	atlas_linker.batch_noted = nkeys > 0;
}

bool
atlas_step_relax(void)
{
	AtlasIdentity saved;

	if (!begin_step("noting a batch", &saved))
		return false;
	note_batch(ATLAS_TO_LINK, NULL, 0);
	end_step(&saved);
	atlas_linker.careful_until = 0;
	atlas_linker.was_evicted = false;
	return true;
}

/* Claims a batch and links it. */
static bool
link_batch(int *claimed)
{
	AtlasIdentity saved;
	AtlasLinkCounts counts = {0};

	if (!begin_step("linking", &saved))
		return false;
	*claimed = atlas_link_batch(&atlas_linker.cursor, atlas_linker.batch_size, &counts);
	end_step(&saved);
	add_counts(&counts);
	return true;
}

/* Does the same in two steps, so that the batch is noted before it is begun. */
static bool
link_noted_batch(int *claimed)
{
	AtlasIdentity saved;
	AtlasLinkCounts counts = {0};
	AtlasEventKey *keys;
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "atlas_events noted batch",
												  ALLOCSET_DEFAULT_SIZES);

	if (!begin_step("noting a batch", &saved))
		return false;
	keys = palloc(sizeof(AtlasEventKey) * atlas_linker.batch_size);
	*claimed = atlas_queue_claim_batch(&atlas_linker.cursor, atlas_linker.batch_size, keys);
	note_batch(ATLAS_TO_LINK, keys, *claimed);
	keys = atlas_event_keys_copy(keys, *claimed, context);
	end_step(&saved);

	if (*claimed > 0)
	{
		if (!begin_step("linking", &saved))
			return false;
		atlas_link(keys, atlas_queue_claim_again(keys, *claimed), &counts);
		end_step(&saved);
		add_counts(&counts);
	}
	MemoryContextDelete(context);
	return true;
}

bool
atlas_step_batch(int *claimed)
{
	return atlas_linker_is_careful() ? link_noted_batch(claimed) : link_batch(claimed);
}

/* ----- The second step ----- */

/* A batch of the second step, in the transaction that is under way. */
typedef struct WorkStep
{
	void		(*work) (struct WorkStep *step);
	int			limit;
	int			claimed;
	AtlasEventKey *keys;		/* if they were claimed before */
	bool		more;
	TimestampTz *not_before;	/* set if it is to rest */
} WorkStep;

/* The body of the subtransaction of a step. */
static void
do_work_step(void *argument)
{
	WorkStep   *step = argument;

	step->work(step);
}

/* Has this part of the second step rest for a while. What was claimed is looked for again then. */
static void
rest_from_work(const WorkStep *step, const ErrorData *error)
{
	bool		is_lock = atlas_is_lock_conflict(error);
	int			rest = is_lock ? WORK_REST_MILLISECONDS : WORK_ERROR_REST_MILLISECONDS;

	atlas_log_put_off(error->message, "atlas_event_work");
	if (!is_lock)
		atlas_shmem_note_error(atlas_linker.slot, error->message);
	*step->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), rest);
	atlas_linker.work_cursor.sweep_next = true;
}

/*
 * Does a part of the second step. Links must not wait for it, nor end with it. So a lock that
 * is in the way, as that of a REINDEX, is waited for only for a moment, and after an
 * error, as that of a partition that cannot be read, the second step rests for a while.
 */
static bool
run_work_step(const char *activity, WorkStep *step)
{
	AtlasIdentity saved;
	ErrorData  *error;

	if (!begin_step(activity, &saved))
		return false;
	atlas_set_for_now("lock_timeout", WORK_LOCK_TIMEOUT);
	error = atlas_try(do_work_step, step);
	if (error != NULL && atlas_is_cancel(error))
		ReThrowError(error);
	if (error != NULL)
	{
		rest_from_work(step, error);
		step->claimed = 0;
		step->more = false;
	}
	end_step(&saved);
	return true;
}

/* Claims a batch and works on it. */
static void
claim_and_work(WorkStep *step)
{
	step->claimed = atlas_work_batch(&atlas_linker.work_cursor, step->limit);
}

/* Claims a batch and notes it. */
static void
claim_and_note(WorkStep *step)
{
	AtlasEventKey *keys = palloc(sizeof(AtlasEventKey) * step->limit);

	step->claimed = atlas_queue_claim_batch(&atlas_linker.work_cursor, step->limit, keys);
	note_batch(ATLAS_TO_WORK_ON, keys, step->claimed);
	memcpy(step->keys, atlas_event_keys_copy(keys, step->claimed, GetMemoryChunkContext(step->keys)),
		   sizeof(AtlasEventKey) * step->claimed);
}

/* Works on what has been claimed before. */
static void
work_on_noted(WorkStep *step)
{
	if (!atlas_work_on(step->keys, atlas_work_claim_again(step->keys, step->claimed)))
		atlas_linker.work_cursor.sweep_next = true;
}

/* Writes rows for a rebuild. */
static void
go_on_with_rebuild(WorkStep *step)
{
	step->more = atlas_rebuild_step(step->limit);
}

/* Is a part of the second step to rest, because something was in its way? */
static bool
rests_until(TimestampTz not_before)
{
	TimestampTz now = GetCurrentTimestamp();

	return not_before != 0 && now < not_before &&
		!TimestampDifferenceExceeds(now, not_before, WORK_ERROR_REST_MILLISECONDS + 1);
}

/* Claims and notes a batch, and works on it in another transaction. */
static bool
work_on_noted_batch(WorkStep *step)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "atlas_events noted batch",
												  ALLOCSET_DEFAULT_SIZES);
	bool		stay;

	step->keys = MemoryContextAlloc(context, sizeof(AtlasEventKey) * step->limit);
	step->work = claim_and_note;
	stay = run_work_step("noting a batch", step);
	step->more = step->claimed >= step->limit;
	step->work = work_on_noted;
	if (stay && step->claimed > 0)
		stay = run_work_step("indexing", step);
	MemoryContextDelete(context);
	return stay;
}

/*
 * Chooses the size of the next batch. While there are full ones, each is larger than the one
 * before, because a large one takes less time for each event; but an event that comes
 * meanwhile must not wait for long to be linked.
 */
static void
choose_work_size(const WorkStep *step, int64 milliseconds, bool links_come)
{
	int			most = links_come ? MILLISECONDS_BESIDE_LINKS : MILLISECONDS_OF_WORK;

	if (!step->more)
		atlas_linker.work_size = FIRST_WORK;
	else if (milliseconds < most / 2)
		atlas_linker.work_size = Min(step->limit * 2, ATLAS_MAX_WORK_BATCH);
	else if (milliseconds > most)
		atlas_linker.work_size = Max(step->limit / 2, FIRST_WORK);
}

bool
atlas_step_work(bool links_come, bool *more)
{
	TimestampTz start = GetCurrentTimestamp();
	WorkStep	step = {.work = claim_and_work,.not_before = &atlas_linker.work_not_before};
	bool		stay;

	*more = false;
	if (rests_until(*step.not_before))
		return true;
	step.limit = Min(Max(atlas_linker.work_size, FIRST_WORK), WORK_FOR_LINKS * atlas_linker.batch_size);
	if (atlas_linker_is_careful())
	{
		step.limit = Min(FIRST_WORK, atlas_linker.batch_size);
		stay = work_on_noted_batch(&step);
	}
	else
	{
		stay = run_work_step("indexing", &step);
		step.more = step.claimed >= step.limit;
	}
	choose_work_size(&step, TimestampDifferenceMilliseconds(start, GetCurrentTimestamp()), links_come);
	*more = step.more;
	return stay;
}

bool
atlas_step_rebuild(bool *more)
{
	WorkStep	step = {.work = go_on_with_rebuild,.limit = ATLAS_MAX_WORK_BATCH,
	.not_before = &atlas_linker.rebuild_not_before};

	*more = false;
	if (!atlas_linker.rebuild_is_due || rests_until(*step.not_before))
		return true;
	if (!run_work_step("rebuilding documents", &step))
		return false;
	*more = step.more;
	return true;
}

/* ----- What was not found, and the end ----- */

/*
 * This comes after the batches, because new events are more urgent than references that
 * were not found before.
 */
bool
atlas_step_retry_unresolved(int *claimed)
{
	AtlasIdentity saved;

	*claimed = 0;
	if (atlas_linker.next_due <= GetCurrentTimestamp())
	{
		if (atlas_linker_is_careful())
		{
			AtlasEventKey *keys;

			if (!begin_step("noting a batch", &saved))
				return false;
			keys = palloc(sizeof(AtlasEventKey) * atlas_linker.batch_size);
			note_batch(ATLAS_TO_LINK, keys, atlas_unresolved_due_events(atlas_linker.batch_size, keys));
			end_step(&saved);
		}
		if (!begin_step("linking again", &saved))
			return false;
		*claimed = atlas_retry_unresolved(atlas_linker.batch_size);
		end_step(&saved);
	}
	if (!begin_step("looking for work", &saved))
		return false;
	atlas_linker.next_due = atlas_queue_next_due();
	atlas_linker.left_some = atlas_queue_left_some(&atlas_linker.cursor);
	if (atlas_queue_left_some(&atlas_linker.work_cursor))
		atlas_linker.left_some = true;
	atlas_linker.rebuild_is_due = atlas_rebuild_is_due();
	end_step(&saved);
	return true;
}

/*
 * If the linker is careful and leaves early, an empty note makes the next one careful as
 * well.
 */
void
atlas_step_end(void)
{
	AtlasIdentity saved;

	if (!atlas_linker.state_noted || !begin_step("ending", &saved))
		return;
	if (atlas_linker_is_careful() && !atlas_linker.finished)
		atlas_linker_note_write(ATLAS_TO_LINK, NULL, 0);
	else
		atlas_linker_note_clear();
	end_step(&saved);
	atlas_linker.state_noted = false;
}
