/*
 * linker.c
 *		The background worker that links the events of one database.
 *
 *	started by the launcher ─► may it link here? ─► what the one before was at,
 *	if it was killed ─► batches, until the queue is empty ─► wait for the latch,
 *	for poll_interval at most ─► ... ─► nothing for idle_timeout: leave
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
static bool careful = false;	/* the linker before was killed */
static volatile sig_atomic_t in_step = false;
static AtlasCursor cursor;
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
	/* Unless somebody is just about to create it. */
	if (!has_extension && pg_atomic_read_u32(&slot->interested) == 0)
		slot->database = InvalidOid;
	LWLockRelease(atlas_shared->lock);
	atlas_shmem_wake_launcher();
}

/* Takes the slot; false when somebody wants the database for himself. */
static bool
attach(Oid database)
{
	bool		welcome;

	slot = atlas_shmem_database(database);
	if (slot == NULL)
		proc_exit(0);
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
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
	if (stay)
	{
		atlas_partition_ahead(ATLAS_LOG, now);
		atlas_partition_ahead(ATLAS_LINKS, now);
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
	careful = atlas_linker_state_read(&ids, nsuspects);
	*suspects = MemoryContextAlloc(TopMemoryContext, sizeof(pg_uuid_t) * Max(*nsuspects, 1));
	memcpy(*suspects, ids, sizeof(pg_uuid_t) * *nsuspects);
	if (!careful)
		atlas_linker_state_write(NULL, 0);
	state_noted = true;
	end_step(&saved);
	return true;
}

static void
add_counts(const AtlasLinkCounts *counts)
{
	pg_atomic_fetch_add_u64(&slot->linked, counts->linked);
	pg_atomic_fetch_add_u64(&slot->not_found, counts->not_found);
}

/*
 * Links one event that the linker before may have been killed by. The attempt
 * is counted before it is made, in a transaction of its own.
 */
static bool
step_suspect(pg_uuid_t id)
{
	AtlasIdentity saved;
	AtlasLinkCounts counts = {0};

	if (!begin_step("counting an attempt", &saved))
		return false;
	if (atlas_queue_claim_again(&id, 1) > 0)
		atlas_link_failed(&id, "the linker was killed while it linked this event");
	ForceSyncCommit();
	end_step(&saved);

	if (!begin_step("linking one event", &saved))
		return false;
	if (atlas_queue_claim_again(&id, 1) > 0)
		atlas_link(&id, 1, &counts);
	ForceSyncCommit();
	end_step(&saved);
	add_counts(&counts);
	return true;
}

/* Notes the next batch, for the linker after this one; empty: no more. */
static bool
step_note_batch(pg_uuid_t *ids, int *nids)
{
	AtlasIdentity saved;

	if (!begin_step("noting a batch", &saved))
		return false;
	*nids = atlas_queue_claim(&cursor, atlas_batch_size, ids);
	atlas_linker_state_write(ids, *nids);
	end_step(&saved);
	return true;
}

/* Links a batch that has been noted. */
static bool
step_noted_batch(pg_uuid_t *ids, int nids)
{
	AtlasIdentity saved;
	AtlasLinkCounts counts = {0};

	if (!begin_step("linking", &saved))
		return false;
	nids = atlas_queue_claim_again(ids, nids);
	atlas_link(ids, nids, &counts);
	end_step(&saved);
	add_counts(&counts);
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
	if (*claimed < atlas_batch_size && next_due <= GetCurrentTimestamp())
		*claimed = atlas_relink_batch(atlas_batch_size);
	if (*claimed < atlas_batch_size)
		next_due = atlas_queue_next_due();
	end_step(&saved);
	add_counts(&counts);
	return true;
}

/* Leaves no event under suspicion; the next linker is careful if this one was. */
static void
step_end(void)
{
	AtlasIdentity saved;

	if (!state_noted || !begin_step("ending", &saved))
		return;
	if (careful)
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

/* After a linker was killed: first what it was at, then the rest with notes. */
static bool
recover(pg_uuid_t *suspects, int nsuspects)
{
	pg_uuid_t  *ids = MemoryContextAlloc(TopMemoryContext, sizeof(pg_uuid_t) * atlas_batch_size);
	int			batch_size = atlas_batch_size;
	int			nids;

	if (nsuspects > 0)
		ereport(LOG,
				(errmsg("the atlas_events linker before this one was killed; %d events are linked one by one",
						nsuspects)));
	for (int i = 0; i < nsuspects; i++)
		if (must_leave() || !step_suspect(suspects[i]))
			return false;
	do
	{
		if (must_leave() || batch_size != atlas_batch_size ||
			!step_note_batch(ids, &nids) || !step_noted_batch(ids, nids))
			return false;
	} while (nids == batch_size);
	pfree(ids);
	careful = false;
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
	if (cursor.left_some && GetCurrentTimestamp() >= TimestampTzPlusMilliseconds(now, timeout))
		cursor.sweep_next = true;
	return true;
}

static void
work(void)
{
	pg_uuid_t  *suspects;
	int			nsuspects;
	int			claimed = 0;
	bool		has_work = false;
	TimestampTz idle_since;

	if (!step_round(&has_work) || !has_work)
		return;
	if (!step_begin(&suspects, &nsuspects))
		return;
	if (careful && !recover(suspects, nsuspects))
		return;

	idle_since = GetCurrentTimestamp();
	while (!must_leave())
	{
		if (GetCurrentTimestamp() >= next_round && !step_round(&has_work))
			return;
		/* Cleared before looking: whoever commits now sets it again. */
		pg_atomic_write_u32(&slot->pending, 0);
		pg_memory_barrier();
		if (!step_batch(&claimed))
			return;
		if (claimed > 0)
			idle_since = GetCurrentTimestamp();
		if (claimed < atlas_batch_size && !wait_for_work(idle_since))
			return;
	}
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
