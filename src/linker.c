/*
 * linker.c
 *		The background worker that links the events of one database.
 *
 *	started by the launcher ─► may it link here? ─► what the one before was at,
 *	if it was killed ─► batches, until the queue is empty ─► wait for the latch,
 *	for poll_interval at most ─► ... ─► nothing for idle_timeout: leave
 *
 * After a kill each batch is noted before it is begun, for some time: see
 * linker_state.c.
 *
 * Each batch is a transaction of its own, which does not wait for the disk: what
 * a crash undoes is linked again. Between batches the linker holds no lock, and
 * it leaves at once when its slot says so.
 *
 * An error that is not an event's fault ends the linker; the launcher starts
 * another one after a while. While linking is off, or the queue is filled by a
 * subscription, it leaves without touching anything.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "event_id.h"
#include "executor/spi.h"
#include "extension.h"
#include "link.h"
#include "linker_state.h"
#include "miscadmin.h"
#include "partition.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "compat.h"
#include "worker.h"

#define MAX_RESTART_SECONDS 60
#define CAREFUL_SECONDS 600		/* for so long batches are noted after a kill */
#define KILLED_MESSAGE "the linker was killed while it linked this event"

static AtlasStatement select_subscription = {
	.sql = "SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid OPERATOR(pg_catalog.=) $1",
	.nparameters = 1,
	.parameters = {OIDOID},
};

/* What the linker knows; it is alone in its process. */
static AtlasDatabase *slot = NULL;
static AtlasLinkerState exit_state = ATLAS_LINKER_ASLEEP;
static bool has_extension = true;
static bool in_good_order = false;	/* leaving because there is nothing to do */
static bool state_noted = false;
static bool finished = false;	/* there was nothing left to do */
static TimestampTz careful_until = 0;	/* after a linker was killed */
static bool batch_noted = false;
static volatile sig_atomic_t in_step = false;
static AtlasCursor cursor;
static bool left_some = false;	/* events that somebody else has locked */
static TimestampTz next_due = DT_NOEND;
static TimestampTz next_round = 0;	/* sweep, partitions, may it link */

/* Between two steps there is time to leave in good order. */
static void
handle_sigterm(SIGNAL_ARGS)
{
	if (in_step)
		die(postgres_signal_arg);
	else
		SignalHandlerForShutdownRequest(postgres_signal_arg);
}

static void
set_state(AtlasLinkerState state)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	slot->state = state;
	LWLockRelease(atlas_shared->lock);
}

/* Gives the slot back, however the process ends. */
static void
detach(int code, Datum argument)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockReleaseAll();
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	pg_atomic_write_u64(&slot->latch, 0);
	slot->pid = 0;
	slot->leave = false;
	slot->state = exit_state;
	slot->next_visit = TimestampTzPlusMilliseconds(now, (int64) atlas_naptime * 1000);
	if (next_due < slot->next_visit)
		slot->next_visit = next_due;
	if (in_good_order || slot->held_by != 0)
	{
		slot->failures = 0;
		slot->not_before = 0;
	}
	else
	{
		int			seconds = 1 << Min(slot->failures, 6);

		slot->failures++;
		slot->not_before = TimestampTzPlusMilliseconds(now, Min(seconds, MAX_RESTART_SECONDS) *
													   INT64CONST(1000));
	}
	/* What was not finished waits for the next linker. */
	if (!finished)
		pg_atomic_write_u32(&slot->pending, 1);
	/* Unless somebody is just about to create it. */
	if (!has_extension && pg_atomic_read_u32(&slot->interested) == 0)
		slot->database = InvalidOid;
	LWLockRelease(atlas_shared->lock);
	atlas_shmem_wake_launcher();
}

/*
 * Takes the slot; false when somebody wants the database for himself. There may
 * be a linker already, if the launcher was restarted.
 */
static bool
attach(Oid database)
{
	bool		welcome;

	slot = atlas_shmem_database(database);
	if (slot == NULL)
		proc_exit(0);
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	if (slot->pid != 0)
	{
		LWLockRelease(atlas_shared->lock);
		proc_exit(0);
	}
	welcome = slot->held_by == 0;
	slot->pid = MyProcPid;
	slot->leave = false;
	slot->started_at = GetCurrentTimestamp();
	slot->state = ATLAS_LINKER_LINKING;
	pg_atomic_write_u64(&slot->latch, (uint64) (uintptr_t) MyLatch);
	LWLockRelease(atlas_shared->lock);
	before_shmem_exit(detach, (Datum) 0);
	return welcome;
}

/*
 * Settings of the database or the server are for its users. The queue and the
 * tables of objects are only ever read by index.
 */
static void
configure(void)
{
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {
		{"application_name", "atlas_events linker"},
		{"search_path", "pg_catalog, pg_temp"},
		{"synchronous_commit", "off"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"session_replication_role", "origin"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"lock_timeout", "1s"},
		{"enable_seqscan", "off"},
		{"jit", "off"},
		{"row_security", "on"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_OVERRIDE);
}

/* ----- A transaction of the linker ----- */

/*
 * Begins one, as the owner of the extension. False when there is no extension:
 * it is locked, so that DROP EXTENSION waits for the end of a batch instead of
 * meeting it halfway.
 */
static bool
begin_step(const char *activity, AtlasIdentity *saved)
{
	const AtlasExtension *extension;

	in_step = true;
	pgstat_report_activity(STATE_RUNNING, activity);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	extension = atlas_extension_if_any();
	if (extension != NULL)
	{
		LockDatabaseObject(ExtensionRelationId, extension->oid, 0, AccessShareLock);
		extension = atlas_extension_if_any();
	}
	if (extension == NULL)
	{
		has_extension = false;
		finished = true;
		CommitTransactionCommand();
		in_step = false;
		return false;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	atlas_become_owner(saved);
	return true;
}

static void
end_step(const AtlasIdentity *saved)
{
	atlas_return(saved);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	in_step = false;
}

/* ----- Steps ----- */

/* May this linker link here? exit_state says why not. */
static bool
may_link(void)
{
	Datum		value = ObjectIdGetDatum(atlas_extension()->queue);

	if (!atlas_linking)
	{
		exit_state = ATLAS_LINKER_OFF;
		return false;
	}
	if (atlas_execute(&select_subscription, &value, NULL, true, 1) > 0)
	{
		exit_state = ATLAS_LINKER_SUBSCRIBED;
		return false;
	}
	return true;
}

/* What is due every naptime. Returns false when the linker is to leave. */
static bool
step_round(bool *has_work)
{
	AtlasIdentity saved;
	TimestampTz now = GetCurrentTimestamp();
	bool		stay;

	if (!begin_step("looking for work", &saved))
		return false;
	stay = may_link();
	/* A subscription needs the partitions too. */
	if (stay || exit_state == ATLAS_LINKER_SUBSCRIBED)
	{
		atlas_partition_ahead(ATLAS_LOG, now);
		atlas_partition_ahead(ATLAS_LINKS, now);
	}
	if (stay)
	{
		*has_work = atlas_queue_has_work();
		next_due = atlas_queue_next_due();
	}
	end_step(&saved);
	cursor.sweep_next = true;
	next_round = TimestampTzPlusMilliseconds(now, (int64) atlas_naptime * 1000);
	return stay;
}

/* Notes that this linker is at work; returns what the one before was at. */
static bool
step_begin(pg_uuid_t **suspects, int *nsuspects)
{
	AtlasIdentity saved;
	pg_uuid_t  *ids;

	if (!begin_step("beginning", &saved))
		return false;
	if (atlas_linker_state_read(&ids, nsuspects))
		careful_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													CAREFUL_SECONDS * INT64CONST(1000));
	else
		atlas_linker_state_write(NULL, 0);
	*suspects = MemoryContextAlloc(TopMemoryContext, sizeof(pg_uuid_t) * Max(*nsuspects, 1));
	memcpy(*suspects, ids, sizeof(pg_uuid_t) * *nsuspects);
	state_noted = true;
	end_step(&saved);
	return true;
}

static bool
is_careful(void)
{
	return careful_until != 0;
}

static void
add_counts(const AtlasLinkCounts *counts)
{
	pg_atomic_fetch_add_u64(&slot->linked, counts->linked);
	pg_atomic_fetch_add_u64(&slot->not_found, counts->not_found);
}

/*
 * Links one event that the linker before may have been killed by. The attempt
 * is counted before it is made, in a transaction of its own. An unresolved
 * reference is given up before it is looked up once more.
 */
static bool
step_suspect(pg_uuid_t id)
{
	AtlasIdentity saved;
	AtlasLinkCounts counts = {0};
	bool		queued;
	bool		unresolved;

	if (!begin_step("counting an attempt", &saved))
		return false;
	queued = atlas_queue_claim_again(&id, 1) > 0;
	if (queued)
		atlas_link_failed(&id, KILLED_MESSAGE);
	unresolved = atlas_relink_give_up(&id, KILLED_MESSAGE);
	if (queued || unresolved)
		ForceSyncCommit();
	end_step(&saved);
	if (!queued && !unresolved)
		return true;

	if (!begin_step("linking one event", &saved))
		return false;
	if (atlas_queue_claim_again(&id, 1) > 0)
		atlas_link(&id, 1, &counts);
	atlas_relink_given_up(&id, KILLED_MESSAGE);
	ForceSyncCommit();
	end_step(&saved);
	add_counts(&counts);
	return true;
}

/* Notes a batch for the linker after this one, unless there is nothing to note. */
static void
note_batch(const pg_uuid_t *ids, int nids)
{
	if (nids > 0 || batch_noted)
		atlas_linker_state_write(ids, nids);
	batch_noted = nids > 0;
}

/* No kill for some time: batches need not be noted any more. */
static bool
step_relax(void)
{
	AtlasIdentity saved;

	if (!begin_step("noting a batch", &saved))
		return false;
	note_batch(NULL, 0);
	end_step(&saved);
	careful_until = 0;
	return true;
}

/* Links a batch; *claimed is less than the batch size when nothing is left. */
static bool
step_batch(int *claimed)
{
	AtlasIdentity saved;
	AtlasLinkCounts counts = {0};

	if (!begin_step("linking", &saved))
		return false;
	*claimed = atlas_link_batch(&cursor, atlas_batch_size, &counts);
	end_step(&saved);
	add_counts(&counts);
	return true;
}

/* The same in two steps: the batch is noted before it is begun. */
static bool
step_noted_batch(int *claimed)
{
	AtlasIdentity saved;
	AtlasLinkCounts counts = {0};
	pg_uuid_t  *ids = MemoryContextAlloc(TopMemoryContext, sizeof(pg_uuid_t) * atlas_batch_size);

	if (!begin_step("noting a batch", &saved))
		return false;
	*claimed = atlas_claim_batch(&cursor, atlas_batch_size, ids);
	note_batch(ids, *claimed);
	end_step(&saved);

	if (*claimed > 0)
	{
		if (!begin_step("linking", &saved))
			return false;
		atlas_link(ids, atlas_queue_claim_again(ids, *claimed), &counts);
		end_step(&saved);
		add_counts(&counts);
	}
	pfree(ids);
	return true;
}

/* Looks up unresolved references again, as many as are due, up to a batch. */
static bool
step_relink(int *claimed)
{
	AtlasIdentity saved;

	*claimed = 0;
	if (next_due <= GetCurrentTimestamp())
	{
		if (is_careful())
		{
			pg_uuid_t  *ids;

			if (!begin_step("noting a batch", &saved))
				return false;
			ids = palloc(sizeof(pg_uuid_t) * atlas_batch_size);
			note_batch(ids, atlas_relink_events(atlas_batch_size, ids));
			end_step(&saved);
		}
		if (!begin_step("linking again", &saved))
			return false;
		*claimed = atlas_relink_batch(atlas_batch_size);
		end_step(&saved);
	}
	if (!begin_step("looking for work", &saved))
		return false;
	next_due = atlas_queue_next_due();
	left_some = atlas_queue_left_some(&cursor);
	end_step(&saved);
	return true;
}

/* Leaves no event under suspicion; the next linker is careful if this one was. */
static void
step_end(void)
{
	AtlasIdentity saved;

	if (!state_noted || !begin_step("ending", &saved))
		return;
	if (is_careful() && !finished)
		atlas_linker_state_write(NULL, 0);
	else
		atlas_linker_state_clear();
	end_step(&saved);
	state_noted = false;
}

/* ----- The life of a linker ----- */

static bool
must_leave(void)
{
	bool		leave;

	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		next_round = 0;
	}
	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	leave = slot->leave || slot->held_by != 0 || ShutdownRequestPending;
	LWLockRelease(atlas_shared->lock);
	return leave;
}

/* After a linker was killed: first what it was at, one by one. */
static bool
recover(const pg_uuid_t *suspects, int nsuspects)
{
	if (nsuspects > 0)
		ereport(LOG,
				(errmsg("the atlas_events linker before this one was killed; %d events are linked one by one",
						nsuspects)));
	for (int i = 0; i < nsuspects; i++)
		if (must_leave() || !step_suspect(suspects[i]))
			return false;
	batch_noted = nsuspects > 0;
	return true;
}

/* Waits for work; false when there was none for idle_timeout. */
static bool
wait_for_work(TimestampTz idle_since)
{
	static uint32 wait_event = 0;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = TimestampTzPlusMilliseconds(idle_since, atlas_idle_timeout);
	long		timeout;

	if (now >= next_round)
		return true;
	if (now >= until)
		return false;
	timeout = TimestampDifferenceMilliseconds(now, Min(until, next_due));
	timeout = Max(Min(timeout, atlas_poll_interval), 1);

	if (wait_event == 0)
		wait_event = atlas_wait_event("AtlasLinkerMain");
	set_state(ATLAS_LINKER_IDLE);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, wait_event);
	ResetLatch(MyLatch);
	set_state(ATLAS_LINKER_LINKING);

	/* What may have been locked is looked for again, but not in a busy loop. */
	if (left_some && GetCurrentTimestamp() >= TimestampTzPlusMilliseconds(now, timeout))
		cursor.sweep_next = true;
	return true;
}

/* Links until nothing is left, or the next round is due; false: leave. */
static bool
link_all(TimestampTz *idle_since)
{
	int			claimed;

	do
	{
		if (must_leave())
			return false;
		if (is_careful() ? !step_noted_batch(&claimed) : !step_batch(&claimed))
			return false;
		if (claimed > 0)
			*idle_since = GetCurrentTimestamp();
		if (claimed < atlas_batch_size && !step_relink(&claimed))
			return false;
	} while (claimed >= atlas_batch_size && GetCurrentTimestamp() < next_round);
	return true;
}

static void
work(void)
{
	pg_uuid_t  *suspects;
	int			nsuspects;
	bool		has_work = false;
	TimestampTz idle_since;

	if (!step_round(&has_work) || !has_work)
	{
		finished = true;
		return;
	}
	if (!step_begin(&suspects, &nsuspects) || !recover(suspects, nsuspects))
		return;

	idle_since = GetCurrentTimestamp();
	do
	{
		if (GetCurrentTimestamp() >= next_round && !step_round(&has_work))
			break;
		if (is_careful() && GetCurrentTimestamp() >= careful_until && !step_relax())
			return;
		/* Cleared before looking: whoever commits now sets it again. */
		pg_atomic_write_u32(&slot->pending, 0);
		pg_memory_barrier();
		if (!link_all(&idle_since))
			return;
	} while (wait_for_work(idle_since));
	finished = true;
}

/* Reports an error, and ends in as good an order as it allows. */
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
	atlas_shmem_note_error(slot, error->message);

	step_end();
	proc_exit(1);
}

void
atlas_linker_main(Datum argument)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_sigterm);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(argument), InvalidOid, 0);

	if (attach(DatumGetObjectId(argument)))
	{
		cursor.context = TopMemoryContext;
		configure();
		PG_TRY();
		{
			pg_atomic_write_u32(&slot->pending, 0);
			work();
			step_end();
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
