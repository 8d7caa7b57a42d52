/*
 * shmem.c
 *		Shared state of the launcher, the linkers and the submitting backends.
 *		See shmem.h for who may change what.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/encoding.h"
#include "base/shmem.h"

#define TRANCHE_NAME "atlas_events"

AtlasShared *atlas_shared = NULL;

static shmem_request_hook_type previous_shmem_request = NULL;
static shmem_startup_hook_type previous_shmem_startup = NULL;

/* Called by the postmaster, before it allocates the shared memory. */
static void
request_shmem(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(AtlasShared)));
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

/* Also called after a crash, with memory that has been wiped. */
static void
start_shmem(void)
{
	bool		found;

	if (previous_shmem_startup)
		previous_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	atlas_shared = ShmemInitStruct("atlas_events", sizeof(AtlasShared), &found);
	if (!found)
	{
		memset(atlas_shared, 0, sizeof(AtlasShared));
		atlas_shared->lock = &GetNamedLWLockTranche(TRANCHE_NAME)->lock;
		pg_atomic_init_u64(&atlas_shared->launcher_latch, 0);
		pg_atomic_init_u64(&atlas_shared->launcher_due, 0);
		for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
		{
			AtlasDatabase *slot = &atlas_shared->databases[i];

			pg_atomic_init_u32(&slot->interested, 0);
			pg_atomic_init_u32(&slot->pending, 0);
			pg_atomic_init_u64(&slot->latch, 0);
			pg_atomic_init_u64(&slot->submitted, 0);
			pg_atomic_init_u64(&slot->linked, 0);
			pg_atomic_init_u64(&slot->not_found, 0);
		}
		for (int i = 0; i < ATLAS_MAX_ACTION_SESSIONS; i++)
			pg_atomic_init_u64(&atlas_shared->action_sessions[i].latch, 0);
	}
	atlas_arrival_clock_share(&atlas_shared->arrival.clock, !found);
	LWLockRelease(AddinShmemInitLock);
}

void
atlas_shmem_init(void)
{
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = start_shmem;
}

AtlasDatabase *
atlas_shmem_find(Oid database)
{
	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
		if (atlas_shared->databases[i].database == database)
			return &atlas_shared->databases[i];
	return NULL;
}

/* A free slot becomes that of a database; the caller holds the lock. */
static void
take_slot(AtlasDatabase *slot, Oid database)
{
	slot->database = database;
	slot->state = ATLAS_LINKER_ASLEEP;
	slot->pid = 0;
	slot->holders = 0;
	slot->pressure = ATLAS_NO_PRESSURE;
	slot->asked_at = 0;
	slot->was_terminated = false;
	slot->was_evicted = false;
	slot->halvings = 0;
	slot->started_at = 0;
	slot->next_visit = 0;
	slot->not_before = 0;
	slot->failures = 0;
	slot->last_error[0] = '\0';
	slot->last_error_at = 0;
	slot->problem[0] = '\0';
	slot->problem_logged_at = 0;
	pg_atomic_write_u32(&slot->interested, 0);
	pg_atomic_write_u32(&slot->pending, 0);
	pg_atomic_write_u64(&slot->latch, 0);
	pg_atomic_write_u64(&slot->submitted, 0);
	pg_atomic_write_u64(&slot->linked, 0);
	pg_atomic_write_u64(&slot->not_found, 0);
}

AtlasDatabase *
atlas_shmem_database(Oid database)
{
	AtlasDatabase *slot;

	if (atlas_shared == NULL)
		return NULL;

	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	slot = atlas_shmem_find(database);
	if (slot == NULL)
	{
		slot = atlas_shmem_find(InvalidOid);
		if (slot != NULL)
			take_slot(slot, database);
	}
	LWLockRelease(atlas_shared->lock);
	return slot;
}

AtlasDatabase *
atlas_shmem_declare_interest(void)
{
	static AtlasDatabase *own = NULL;
	bool		declared = false;

	if (atlas_shared == NULL)
		return NULL;
	while (!declared)
	{
		if (own == NULL || own->database != MyDatabaseId)
			own = atlas_shmem_database(MyDatabaseId);
		if (own == NULL)
			return NULL;

		/* Whoever gives the slot up holds the lock exclusively. */
		LWLockAcquire(atlas_shared->lock, LW_SHARED);
		declared = own->database == MyDatabaseId;
		if (declared)
			pg_atomic_fetch_add_u32(&own->interested, 1);
		LWLockRelease(atlas_shared->lock);
	}
	return own;
}

void
atlas_shmem_release_interest(AtlasDatabase *slot)
{
	pg_atomic_fetch_sub_u32(&slot->interested, 1);
}

void
atlas_shmem_forget(Oid database)
{
	AtlasDatabase *slot;

	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	slot = atlas_shmem_find(database);
	if (slot != NULL && slot->pid == 0 && slot->holders == 0 &&
		slot->state != ATLAS_LINKER_STARTING && pg_atomic_read_u32(&slot->interested) == 0)
		slot->database = InvalidOid;
	LWLockRelease(atlas_shared->lock);
}

/* Copies a message, cut where it does not fit, between two characters. */
static void
copy_message(char *destination, const char *message)
{
	int			length = atlas_clipped_length(message, strlen(message), ATLAS_ERROR_LENGTH - 1);

	memcpy(destination, message, length);
	destination[length] = '\0';
}

void
atlas_shmem_note_error(AtlasDatabase *slot, const char *message)
{
	char		copy[ATLAS_ERROR_LENGTH];

	if (slot == NULL)
		return;
	copy_message(copy, message);
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	strlcpy(slot->last_error, copy, ATLAS_ERROR_LENGTH);
	slot->last_error_at = GetCurrentTimestamp();
	LWLockRelease(atlas_shared->lock);
}

bool
atlas_shmem_note_problem(AtlasDatabase *slot, const char *message, TimestampTz now,
						 int log_again_seconds)
{
	char		copy[ATLAS_ERROR_LENGTH] = "";
	bool		is_news;

	if (message != NULL)
		copy_message(copy, message);
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	is_news = message != NULL &&
		(strcmp(slot->problem, copy) != 0 ||
		 TimestampDifferenceExceeds(slot->problem_logged_at, now, log_again_seconds * 1000));
	strlcpy(slot->problem, copy, ATLAS_ERROR_LENGTH);
	if (is_news)
		slot->problem_logged_at = now;
	LWLockRelease(atlas_shared->lock);
	return is_news;
}

/* Wakes a process up, if there is one. A latch that nobody owns any more may be set. */
bool
atlas_shmem_set_latch(pg_atomic_uint64 *latch)
{
	Latch	   *target = (Latch *) (uintptr_t) pg_atomic_read_u64(latch);

	if (target == NULL)
		return false;
	/* The latch of a process that has ended belongs to nobody, or to the process that has its place now. */
	SetLatch(target);
	return true;
}

void
atlas_shmem_wake_launcher(void)
{
	(void) atlas_shmem_set_latch(&atlas_shared->launcher_latch);
}

void
atlas_shmem_nudge(AtlasDatabase *slot)
{
	pg_atomic_write_u32(&slot->pending, 1);
	pg_memory_barrier();
	if (!atlas_shmem_set_latch(&slot->latch))
		atlas_shmem_wake_launcher();
}

void
atlas_shmem_wake(AtlasDatabase *slot)
{
	/* Whoever set it woke the linker, which has not looked since. */
	if (pg_atomic_exchange_u32(&slot->pending, 1) == 0)
		atlas_shmem_nudge(slot);
}
