/*
 * linker.c
 *		The background worker that links the events of one database.
 *
 *	started by the launcher ─► may it link here? ─► the events that the linker before
 *	was at work on, if it was killed ─► batches, until the queue and the work table are empty
 *	─► wait for the latch, for poll_interval at most ─► ... ─► nothing for idle_timeout: leave
 *
 * Linking comes first. A batch of the second step, which makes documents, is begun only when
 * the queue has no full batch any more, and it is small; then the queue is looked at again. So a
 * link waits for one small batch at most, and while there are more events to link than
 * the linker can keep up with, only links are made. That comes to an end, because it links
 * faster than events are submitted. A rebuild of documents goes on when neither step has anything to do.
 *
 * For some time after a kill, each batch is noted before it is begun: see linker_note.c.
 *
 * Each batch is a transaction of its own, which does not wait for the disk: the events
 * that a crash undoes are linked again. Between batches the linker holds no lock, and it
 * leaves at once if its slot says so.
 *
 * If other databases wait, and this linker does not make room for them in time, the
 * launcher cancels what it does, or terminates it: see eviction.c.
 *
 * An error that no event is to blame for ends the linker, and the launcher starts another
 * one after a while. If linking is off, or a subscription fills the queue, the linker
 * leaves without touching anything.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "link/link_batch.h"
#include "worker/linker.h"
#include "worker/linker_transactions.h"
#include "worker/linker_work.h"
#include "worker/worker.h"

#define MAX_RESTART_SECONDS 60
#define RETRY_MILLISECONDS 5000 /* until events that are due, but locked, are tried again */
#define WORK_RETRY_MILLISECONDS 15000	/* until documents that somebody has locked are */
#define MAX_HALVINGS 20

/* The linker reads the queue and the tables of objects only by index. */
static const AtlasSetting settings[] = {
	{"application_name", "atlas_events linker"},
	{"search_path", "pg_catalog, pg_temp"},
	{"synchronous_commit", "off"},
	{"lock_timeout", "1s"},
	{"plan_cache_mode", "auto"},
	{"enable_seqscan", "off"},
	{"enable_indexscan", "on"},
	{"enable_bitmapscan", "on"},
	{"max_parallel_workers_per_gather", "0"},
	{"jit", "off"},
	{NULL, NULL}
};

static bool in_good_order = false;	/* the linker ends without an error */

/* Says in the slot what the linker is doing. */
static void
set_state(AtlasLinkerState state)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	atlas_linker.slot->state = state;
	LWLockRelease(atlas_shared->lock);
}

/*
 * Has the launcher cut short what this linker did? It may do so at any time, so the
 * caller holds the lock if it needs to know for sure.
 */
static bool
is_evicted(void)
{
	return atlas_linker.slot->pressure >= ATLAS_CANCELLED;
}

/* How long the next linker waits if this one ends with an error. */
static int
restart_seconds(int failures)
{
	return Min(1 << Min(failures, 6), MAX_RESTART_SECONDS);
}

/* Gives the slot back, however the process ends. */
static void
detach(int code, Datum argument)
{
	AtlasDatabase *slot = atlas_linker.slot;
	TimestampTz now = GetCurrentTimestamp();
	bool		has_failed;

	LWLockReleaseAll();
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	has_failed = !in_good_order && slot->holders == 0 && !is_evicted();
	slot->not_before = has_failed ?
		TimestampTzPlusMilliseconds(now, restart_seconds(slot->failures) * INT64CONST(1000)) : 0;
	slot->failures = has_failed ? slot->failures + 1 : 0;
	slot->next_visit = TimestampTzPlusMilliseconds(now, (int64) atlas_naptime * 1000);
	/* Somebody has locked what is due already. */
	if (atlas_linker.work_cursor.sweep_next || atlas_linker.rules_left)
		atlas_linker.next_due = Min(atlas_linker.next_due,
									TimestampTzPlusMilliseconds(Max(now, atlas_linker.work_not_before),
																WORK_RETRY_MILLISECONDS));
	if (atlas_linker.next_due < slot->next_visit)
		slot->next_visit = Max(atlas_linker.next_due,
							   TimestampTzPlusMilliseconds(now, RETRY_MILLISECONDS));
	slot->state = atlas_linker.exit_state;
	slot->pid = 0;
	/* The batch gets smaller until it comes to its end in time. */
	if (is_evicted())
		slot->halvings = Min(slot->halvings + 1, MAX_HALVINGS);
	else if (in_good_order && slot->halvings > 0)
		slot->halvings--;
	slot->was_terminated = atlas_worker_is_terminated && !in_good_order;
	slot->was_evicted = slot->was_terminated && is_evicted();
	slot->pressure = ATLAS_NO_PRESSURE;
	pg_atomic_write_u64(&slot->latch, 0);

	/* The next linker finishes what is left. */
	if (!atlas_linker.finished)
		pg_atomic_write_u32(&slot->pending, 1);
	/* The slot is kept if somebody is just about to create the extension. */
	if (atlas_linker.has_no_extension && pg_atomic_read_u32(&slot->interested) == 0 &&
		slot->holders == 0)
		slot->database = InvalidOid;
	LWLockRelease(atlas_shared->lock);
	atlas_shmem_wake_launcher();
}

/*
 * Takes the slot. Returns false if somebody needs the database for a command. If the
 * launcher was restarted, there may be a linker already.
 */
static bool
attach(Oid database)
{
	AtlasDatabase *slot = atlas_shmem_database(database);
	bool		welcome;

	if (slot == NULL)
		proc_exit(0);
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	if (slot->pid != 0)
	{
		LWLockRelease(atlas_shared->lock);
		proc_exit(0);
	}
	welcome = slot->holders == 0;
	slot->pid = MyProcPid;
	slot->pressure = ATLAS_NO_PRESSURE;
	slot->started_at = GetCurrentTimestamp();
	slot->state = ATLAS_LINKER_LINKING;
	pg_atomic_write_u64(&slot->latch, (uint64) (uintptr_t) MyLatch);
	LWLockRelease(atlas_shared->lock);
	atlas_linker.slot = slot;
	atlas_linker.batch_size = Max(atlas_batch_size >> slot->halvings, 1);
	before_shmem_exit(detach, (Datum) 0);
	return welcome;
}

/* ----- The life of a linker ----- */

/* Is the linker to leave, because others wait, or the server or its settings change? */
static bool
must_leave(void)
{
	bool		leave;

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	leave = atlas_linker.slot->pressure != ATLAS_NO_PRESSURE || atlas_linker.slot->holders > 0;
	LWLockRelease(atlas_shared->lock);
	/* If it was cancelled for being late, that is settled: it leaves. */
	if (leave)
		QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	/* The next linker also gets the settings of the database, which may have changed. */
	return leave || ConfigReloadPending || ShutdownRequestPending;
}

/*
 * After a linker was killed, deals one by one with the events that it was at work on. Returns
 * false if the linker is to leave.
 */
static bool
recover(AtlasBacklog backlog, AtlasEventKey *suspects, int nsuspects)
{
	if (nsuspects > 0)
		ereport(LOG,
				(errmsg("the atlas_events linker before this one was %s; %d events are %s one by one",
						atlas_linker.was_evicted ? "terminated" : "killed", nsuspects,
						backlog == ATLAS_TO_LINK ? "linked" : "indexed")));
	for (int i = 0; i < nsuspects; i++)
		if (must_leave() ||
			!(backlog == ATLAS_TO_LINK ? atlas_step_link_suspect(suspects[i]) :
			  atlas_step_work_on_suspect(&suspects[i], nsuspects - i)))
			return false;
	atlas_linker.batch_noted = nsuspects > 0;
	return true;
}

/*
 * Is it time for a round? If the next one seems to be too far away, the clock was set
 * back, and it is.
 */
static bool
round_is_due(void)
{
	TimestampTz now = GetCurrentTimestamp();

	return now >= atlas_linker.next_round ||
		TimestampDifferenceExceeds(now, atlas_linker.next_round, atlas_naptime * 1000 + 1);
}

/* Waits for work. Returns false if there was none for idle_timeout. */
static bool
wait_for_work(TimestampTz idle_since)
{
	static uint32 wait_event = 0;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = TimestampTzPlusMilliseconds(idle_since, atlas_idle_timeout);
	long		timeout;

	/* Waiting for a lock may have used up the latch of a commit. */
	if (round_is_due() ||
		pg_atomic_read_u32(&atlas_linker.slot->pending) != 0)
		return true;
	if (now >= until)
		return false;
	/* What is due already is locked, and looked for again after poll_interval. */
	if (atlas_linker.next_due > now)
		until = Min(until, atlas_linker.next_due);
	timeout = TimestampDifferenceMilliseconds(now, until);
	timeout = Max(Min(timeout, atlas_poll_interval), 1);

	if (wait_event == 0)
		wait_event = atlas_wait_event("AtlasLinkerMain");
	set_state(ATLAS_LINKER_IDLE);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, wait_event);
	ResetLatch(MyLatch);
	set_state(ATLAS_LINKER_LINKING);

	/* Events that were locked are looked for again, but not in a busy loop. */
	if (atlas_linker.left_some && GetCurrentTimestamp() >= TimestampTzPlusMilliseconds(now, timeout))
	{
		atlas_linker.cursor.sweep_next = true;
		atlas_linker.work_cursor.sweep_next = true;
	}
	return true;
}

/*
 * After an eviction the batch is small only for a while, unless an event is under
 * suspicion.
 */
static void
grow_batch(void)
{
	if (!atlas_linker.was_evicted)
		atlas_linker.batch_size = Min(atlas_linker.batch_size * 2, atlas_batch_size);
}

/*
 * A batch of each step, the second only if the queue had no full one. *more says that there
 * is more to do at once. Returns false if the linker is to leave.
 */
static bool
do_batches(TimestampTz *idle_since, bool *more)
{
	int			claimed;
	bool		rules_begin;

	if (!atlas_step_batch(&claimed))
		return false;
	*more = claimed >= atlas_linker.batch_size;
	if (!*more)
	{
		if (must_leave() || !atlas_step_rules(&rules_begin) || !atlas_step_work(claimed > 0, more) ||
			!atlas_step_actions())
			return false;
		*more |= rules_begin;
		/* Nothing else is due. */
		if (!*more && claimed == 0 && (must_leave() || !atlas_step_rebuild(more)))
			return false;
	}
	if (claimed > 0 || *more)
		*idle_since = GetCurrentTimestamp();
	return true;
}

/*
 * Does all that is to be done until nothing is left, or the next round is due. Returns
 * false if the linker is to leave.
 */
static bool
work_until_empty(TimestampTz *idle_since)
{
	static TimestampTz last_retry = 0;
	TimestampTz now;
	int			retried;
	bool		full;

	do
	{
		if (must_leave() || !do_batches(idle_since, &full))
			return false;
		grow_batch();
		/* Even if there is always something new, this is done now and then. */
		now = GetCurrentTimestamp();
		if (full && now >= last_retry &&
			now < TimestampTzPlusMilliseconds(last_retry, atlas_poll_interval))
			continue;
		last_retry = now;
		if (!atlas_step_retry_unresolved(&retried))
			return false;
		full = full || retried >= atlas_linker.batch_size;
	} while (full && !round_is_due());
	return true;
}

/* The life of a linker, from the first look to the last. */
static void
work(void)
{
	AtlasBacklog backlog;
	AtlasEventKey *suspects;
	int			nsuspects;
	bool		has_work = false;
	TimestampTz idle_since;

	if (!atlas_step_round(&has_work) || !has_work)
	{
		atlas_linker.finished = true;
		return;
	}
	if (!atlas_step_begin(&backlog, &suspects, &nsuspects) || !recover(backlog, suspects, nsuspects))
		return;

	idle_since = GetCurrentTimestamp();
	do
	{
		idle_since = Min(idle_since, GetCurrentTimestamp());
		if (round_is_due() && !atlas_step_round(&has_work))
			break;
		if (atlas_linker_is_careful() &&
			GetCurrentTimestamp() >= atlas_linker.careful_until && !atlas_step_relax())
			return;
		/* It is cleared before looking, so that a commit that comes now sets it again. */
		pg_atomic_write_u32(&atlas_linker.slot->pending, 0);
		pg_memory_barrier();
		if (!work_until_empty(&idle_since))
			return;
	} while (wait_for_work(idle_since));
	atlas_linker.finished = true;
}

/* Reports an error, and ends in as good an order as the error allows. */
static void
work_failed(void)
{
	ErrorData  *error;

	MemoryContextSwitchTo(TopMemoryContext);
	HOLD_INTERRUPTS();
	error = CopyErrorData();
	EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	if (is_evicted())
		ereport(LOG,
				(errmsg("the atlas_events linker makes room for other databases, the next one starts in its turn"),
				 errdetail("Events wait until then. None is lost.")));
	else
	{
		atlas_shmem_note_error(atlas_linker.slot, error->message);
		ereport(LOG,
				(errmsg("the atlas_events linker ends with this error, the next one starts in %d seconds",
						restart_seconds(atlas_linker.slot->failures)),
				 errdetail("Events wait until then. None is lost.")));
	}

	atlas_step_end();
	proc_exit(1);
}

void
atlas_linker_main(Datum argument)
{
	atlas_worker_connect(DatumGetObjectId(argument), InvalidOid, settings);
	atlas_worker_name_in_messages("linker");

	if (attach(DatumGetObjectId(argument)))
	{
		atlas_linker.cursor.context = TopMemoryContext;
		atlas_linker.work_cursor.context = TopMemoryContext;
		atlas_linker.work_cursor.backlog = ATLAS_TO_WORK_ON;
		PG_TRY();
		{
			pg_atomic_write_u32(&atlas_linker.slot->pending, 0);
			work();
			atlas_step_end();
		}
		PG_CATCH();
		{
			work_failed();
		}
		PG_END_TRY();
	}
	in_good_order = true;
	proc_exit(0);
}
