/*
 * launcher.c
 *		The background worker that starts linkers where they are needed.
 *
 * The launcher is connected to no database, so it cannot see which ones have the
 * extension. It has every connectable database visited once: a linker that finds no
 * extension gives its slot back, and the database is visited again only after a long
 * time. CREATE EXTENSION, and every commit that queues an event, take a slot and wake the
 * launcher themselves.
 *
 * A linker is started when events were committed in its database, when one is due for
 * another attempt, and every naptime in any case. If max_workers allows several linkers,
 * the last one is used only for visits. When more databases have work than there are
 * workers, the linker that has run longest makes room for the next one: see eviction.c.
 *
 * Why a linker did not start:
 *	- read_databases(): the database is a template or allows no connections;
 *	- see_database(): 1,024 databases have slots already;
 *	- need_of(): it needs none now, or one runs, or the last one failed a moment ago, or
 *	  somebody needs the database without other sessions (make_way.c);
 *	- next_candidate() and start_workers(): max_workers are running;
 *	- start_linker(): no background worker slot is free.
 * A linker that has started may leave at once: see may_link() in linker_transactions.c.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "worker/action_launch.h"
#include "worker/eviction.h"
#include "worker/launcher.h"
#include "worker/worker.h"

#define RESTART_SECONDS 5		/* after the launcher itself failed */
#define PROBE_NAPTIMES 60		/* databases without the extension */
#define RETRY_MILLISECONDS 1000 /* when there was no worker slot */

/* A database as the launcher sees it, with or without a slot. */
typedef struct KnownDatabase
{
	Oid			oid;			/* hash key */
	TimestampTz next_probe;
	uint64		round;			/* when it was last seen in pg_database */
} KnownDatabase;

static HTAB *known = NULL;
static uint64 round_number = 0;
static BackgroundWorkerHandle *handles[ATLAS_MAX_DATABASES];
static bool is_visit[ATLAS_MAX_DATABASES];	/* started without pending work */
static int	most_linkers = 1;	/* at a time, beside the action workers that run */
static bool slot_missing = false;	/* it has been logged already */

void
atlas_launcher_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "atlas_events", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "atlas_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "atlas_events launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "atlas_events launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

/* ----- Which databases there are ----- */

/* Notes that a database is there, and has it visited if it is time to. */
static void
see_database(Oid oid, TimestampTz now)
{
	bool		found;
	KnownDatabase *database = hash_search(known, &oid, HASH_ENTER, &found);
	AtlasDatabase *slot;

	if (!found)
		database->next_probe = now;
	database->round = round_number;
	if (database->next_probe > now)
		return;

	/* A visit needs a slot. If there is no extension the visitor frees it. */
	database->next_probe = TimestampTzPlusMilliseconds(now, (int64) atlas_naptime *
													   PROBE_NAPTIMES * 1000);
	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	slot = atlas_shmem_find(oid);
	LWLockRelease(atlas_shared->lock);
	if (slot == NULL && atlas_shmem_database(oid) == NULL)
		ereport(LOG,
				(errmsg("atlas_events serves %d databases at most; database %u is not among them",
						ATLAS_MAX_DATABASES, oid)));
}

/* Reads pg_database. Templates have no events to link. */
static void
read_databases(TimestampTz now)
{
	Relation	pg_database;
	TableScanDesc scan;
	HeapTuple	tuple;

	atlas_worker_begin();
	pg_database = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(pg_database, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (form->datallowconn && !form->datistemplate)
			see_database(form->oid, now);
	}
	table_endscan(scan);
	table_close(pg_database, AccessShareLock);
	atlas_worker_commit();
}

/* Forgets the databases that have been dropped. */
static void
forget_databases(void)
{
	HASH_SEQ_STATUS status;
	KnownDatabase *database;

	hash_seq_init(&status, known);
	while ((database = hash_seq_search(&status)) != NULL)
	{
		if (database->round == round_number)
			continue;
		atlas_shmem_forget(database->oid);
		(void) hash_search(known, &database->oid, HASH_REMOVE, NULL);
	}
}

/* ----- Starting linkers ----- */

/*
 * Finds linkers that ended before they could take their slot, and lets their databases
 * wait before the next one is started.
 */
static void
check_handles(TimestampTz now)
{
	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
	{
		AtlasDatabase *slot = &atlas_shared->databases[i];
		pid_t		pid;

		if (handles[i] == NULL || GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED)
			continue;
		pfree(handles[i]);
		handles[i] = NULL;
		LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
		if (slot->state == ATLAS_LINKER_STARTING && slot->pid == 0)
		{
			slot->state = ATLAS_LINKER_ASLEEP;
			slot->failures++;
			slot->not_before = TimestampTzPlusMilliseconds(now, (1 << Min(slot->failures, 6)) *
														   INT64CONST(1000));
		}
		LWLockRelease(atlas_shared->lock);
	}
}

typedef enum Need
{
	NO_NEED,
	ROUTINE_VISIT,
	PENDING_WORK
} Need;

/*
 * Starts a linker for the database of a slot. Returns false if nothing more can be
 * started now.
 */
static bool
start_linker(int index, Need need, TimestampTz now)
{
	AtlasDatabase *slot = &atlas_shared->databases[index];
	BackgroundWorker worker = {0};
	Oid			database;
	bool		exists;
	bool		started;

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	database = slot->database;
	LWLockRelease(atlas_shared->lock);
	exists = OidIsValid(database) && atlas_worker_can_come(database, InvalidOid);

	/* The linker may take its slot before this process goes on. */
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	exists = exists && slot->database == database;
	if (exists)
		slot->state = ATLAS_LINKER_STARTING;
	else
		slot->not_before = TimestampTzPlusMilliseconds(now, RETRY_MILLISECONDS);
	LWLockRelease(atlas_shared->lock);
	if (!exists)
	{
		atlas_shmem_forget(database);
		return true;
	}

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "atlas_events", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "atlas_linker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "atlas_events linker of database %u",
			 database);
	strlcpy(worker.bgw_type, "atlas_events linker", sizeof(worker.bgw_type));

	if (handles[index] != NULL)
		pfree(handles[index]);
	handles[index] = NULL;
	started = RegisterDynamicBackgroundWorker(&worker, &handles[index]);
	if (!started)
	{
		LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
		slot->state = ATLAS_LINKER_NO_SLOT;
		slot->not_before = TimestampTzPlusMilliseconds(now, RETRY_MILLISECONDS);
		LWLockRelease(atlas_shared->lock);
		if (!slot_missing)
			ereport(LOG,
					(errmsg("no background worker slot is free for an atlas_events linker"),
					 errhint("Increase max_worker_processes; events wait until one is free.")));
	}
	slot_missing = !started;
	is_visit[index] = started && need == ROUTINE_VISIT;
	return started;
}

/* Is there work that a linker would do? While linking is off, there is none. */
static bool
has_pending_work(AtlasDatabase *slot)
{
	return slot->state != ATLAS_LINKER_OFF && slot->state != ATLAS_LINKER_SUBSCRIBED &&
		pg_atomic_read_u32(&slot->pending) != 0;
}

/* Does the database of this slot need a linker now? The caller holds the lock. */
static Need
need_of(AtlasDatabase *slot, TimestampTz now)
{
	if (!OidIsValid(slot->database) || slot->pid != 0 || slot->state == ATLAS_LINKER_STARTING)
		return NO_NEED;
	if (slot->holders > 0 || slot->not_before > now)
		return NO_NEED;
	if (has_pending_work(slot))
		return PENDING_WORK;
	if (slot->next_visit > now)
		return NO_NEED;
	/* If a single linker has to do it all, a visit that is overdue counts as work. */
	if (most_linkers == 1 &&
		TimestampDifferenceExceeds(slot->next_visit, now, ATLAS_TURN_MILLISECONDS))
		return PENDING_WORK;
	return ROUTINE_VISIT;
}

/*
 * Counts the linkers, and those of them that are visits, and how many there may be beside the action workers. A worker slot becomes free only
 * some time after the linker has left its database slot.
 */
static void
count_linkers(int *linkers, int *visits)
{
	int			nhandles = 0;

	*linkers = *visits = 0;
	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
	{
		if (handles[i] == NULL)
			continue;
		nhandles++;
		if (is_visit[i])
			(*visits)++;
	}

	/* Linkers that an earlier launcher has started count as well. */
	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
		if (OidIsValid(atlas_shared->databases[i].database) &&
			(atlas_shared->databases[i].pid != 0 ||
			 atlas_shared->databases[i].state == ATLAS_LINKER_STARTING))
			(*linkers)++;
	LWLockRelease(atlas_shared->lock);
	*linkers = Max(*linkers, nhandles);
	most_linkers = Max(atlas_max_workers - atlas_action_workers_running(), 1);
}

/*
 * Chooses the next slot that needs a linker, in turn, and says what it needs. Pending
 * work comes first, but the last worker is kept for visits, so that no visit waits for
 * long.
 */
static int
next_candidate(TimestampTz now, int linkers, int visits, Need *need)
{
	static int	last = 0;
	bool		work_allowed = most_linkers == 1 || linkers - visits < most_linkers - 1;
	int			visit = -1;
	int			work = -1;
	int			result;

	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = 1; i <= ATLAS_MAX_DATABASES; i++)
	{
		int			index = (last + i) % ATLAS_MAX_DATABASES;
		Need		candidate = need_of(&atlas_shared->databases[index], now);

		if (candidate == PENDING_WORK && work < 0)
			work = index;
		if (candidate == ROUTINE_VISIT && visit < 0)
			visit = index;
	}
	LWLockRelease(atlas_shared->lock);

	if (work >= 0 && work_allowed)
	{
		*need = PENDING_WORK;
		result = work;
	}
	else
	{
		/* While work waits, visits have only their one worker. */
		*need = ROUTINE_VISIT;
		result = work < 0 || visits == 0 ? visit : -1;
	}
	if (result >= 0)
		last = result;
	return result;
}

/* Is there a database that waits for a linker? */
static bool
somebody_waits(TimestampTz now)
{
	bool		result = false;

	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ATLAS_MAX_DATABASES && !result; i++)
	{
		AtlasDatabase *slot = &atlas_shared->databases[i];

		/* One without a worker slot is tried again later: another linker of ours may have it. */
		result = need_of(slot, now) != NO_NEED ||
			(OidIsValid(slot->database) && slot->state == ATLAS_LINKER_NO_SLOT);
	}
	LWLockRelease(atlas_shared->lock);
	return result;
}

/* When the launcher must look again, if nobody wakes it before. */
static TimestampTz
next_look(TimestampTz now, TimestampTz until)
{
	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
	{
		AtlasDatabase *slot = &atlas_shared->databases[i];
		TimestampTz due;

		if (!OidIsValid(slot->database) || slot->pid != 0 || slot->state == ATLAS_LINKER_STARTING)
			continue;
		due = has_pending_work(slot) ? slot->not_before :
			Max(slot->next_visit, slot->not_before);
		if (due > now && due < until)
			until = due;
	}
	LWLockRelease(atlas_shared->lock);
	return until;
}

/* Has workers leave that others wait for. Returns whether any do. */
static bool
make_room(TimestampTz now)
{
	bool		takes_linkers_room;
	bool		linkers_wait = somebody_waits(now);
	bool		actions_wait = atlas_action_worker_waits(now, &takes_linkers_room);

	if (linkers_wait || actions_wait)
		atlas_action_workers_press(now);
	if (linkers_wait || (actions_wait && takes_linkers_room))
		atlas_evict_one(now);
	return linkers_wait || actions_wait;
}

/* Starts a linker if one is needed and may run. */
static bool
start_needed_linker(TimestampTz now, int linkers, int visits)
{
	Need		need;
	int			index = next_candidate(now, linkers, visits, &need);

	return index >= 0 && start_linker(index, need, now);
}

/* Starts the workers that are needed, linkers and action workers in turn. Returns when to look again at the latest. */
static TimestampTz
start_workers(TimestampTz now, TimestampTz next_round)
{
	static bool actions_are_next = false;
	int			linkers;
	int			visits;
	bool		started;

	do
	{
		count_linkers(&linkers, &visits);
		if (linkers + atlas_action_workers_running() >= atlas_max_workers)
			break;
		started = actions_are_next && atlas_action_worker_start(now);
		if (!started)
		{
			started = start_needed_linker(now, linkers, visits);
			if (!started)
				started = atlas_action_worker_start(now);
			else
				actions_are_next = true;
		}
		else
			actions_are_next = false;
	} while (started);
	return atlas_action_workers_next_look(now, make_room(now) ?
										  TimestampTzPlusMilliseconds(now, ATLAS_TURN_MILLISECONDS) :
										  next_look(now, next_round));
}

/* The settings have changed, so every database is visited, in case linking was turned on. */
static void
visit_all(TimestampTz now)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
		atlas_shared->databases[i].next_visit = now;
	LWLockRelease(atlas_shared->lock);
}

/* The clock was set back, so what was planned by the earlier clock is due now. */
static void
forget_times(TimestampTz now)
{
	HASH_SEQ_STATUS status;
	KnownDatabase *database;

	hash_seq_init(&status, known);
	while ((database = hash_seq_search(&status)) != NULL)
		database->next_probe = now;
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
	{
		AtlasDatabase *slot = &atlas_shared->databases[i];

		slot->next_visit = Min(slot->next_visit, now);
		slot->not_before = Min(slot->not_before, now);
		slot->started_at = Min(slot->started_at, now);
		slot->asked_at = Min(slot->asked_at, now);
	}
	LWLockRelease(atlas_shared->lock);
	atlas_action_workers_forget(false, now);
}

/* Linkers that an earlier launcher has started may never have come. */
static void
forget_starting(void)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
	{
		AtlasDatabase *slot = &atlas_shared->databases[i];

		if (slot->state == ATLAS_LINKER_STARTING && slot->pid == 0)
			slot->state = ATLAS_LINKER_ASLEEP;
		slot->next_visit = 0;
	}
	LWLockRelease(atlas_shared->lock);
}

/* Nobody must set the latch of a process that is gone. */
static void
forget_launcher(int code, Datum argument)
{
	pg_atomic_write_u64(&atlas_shared->launcher_latch, 0);
}

/* Tells when the launcher will look again. The status says so if it does not. */
static void
announce(TimestampTz next)
{
	pg_atomic_write_u64(&atlas_shared->launcher_due, (uint64) next);
}

/* Looks at the databases, starts what is needed, and waits; for ever. */
static void
launcher_loop(void)
{
	uint32		wait_event = atlas_wait_event("AtlasLauncherMain");
	TimestampTz next_round = 0;
	TimestampTz now = 0;

	for (;;)
	{
		TimestampTz before = now;
		TimestampTz until;

		now = GetCurrentTimestamp();
		announce(now);
		CHECK_FOR_INTERRUPTS();
		/* With 1 the postmaster starts another one, unless it is about to end. */
		if (ShutdownRequestPending)
			proc_exit(1);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			visit_all(now);
			next_round = 0;
		}
		if (now < before)
		{
			forget_times(now);
			next_round = 0;
		}
		if (now >= next_round)
		{
			round_number++;
			read_databases(now);
			forget_databases();
			next_round = TimestampTzPlusMilliseconds(now, (int64) atlas_naptime * 1000);
		}
		check_handles(now);
		atlas_action_workers_check(now);
		until = start_workers(now, next_round);
		announce(until);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(TimestampDifferenceMilliseconds(now, until), 1), wait_event);
		ResetLatch(MyLatch);
	}
}

void
atlas_launcher_main(Datum argument)
{
	HASHCTL		control = {0};
	static const AtlasSetting settings[] = {
		{"application_name", "atlas_events launcher"},
		{"search_path", "pg_catalog, pg_temp"},
		{NULL, NULL}
	};

	atlas_worker_connect(InvalidOid, InvalidOid, settings);

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(KnownDatabase);
	control.hcxt = TopMemoryContext;
	known = hash_create("atlas_events databases", 64, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	forget_starting();
	atlas_action_workers_forget(true, 0);
	before_shmem_exit(forget_launcher, (Datum) 0);
	pg_atomic_write_u64(&atlas_shared->launcher_latch, (uint64) (uintptr_t) MyLatch);
	launcher_loop();
}
