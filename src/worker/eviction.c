/*
 * eviction.c
 *		Makes linkers give way when more databases have work than there are
 *		workers.
 *
 * The linker that has had the longest turn is asked to leave, which it does after
 * its batch. One that does not leave within the grace time is stuck, say in a view
 * that never ends: what it does is cancelled. Then the objects of that view are put
 * off, the others of the batch are linked, and it leaves in good order. If it heeds
 * not even that it is terminated. The next linker of the database gets smaller
 * batches, so that one that only takes long comes to its end: see linker.c.
 *
 * The pressure on a linker is changed here, and by the linker itself when it comes
 * and goes; both hold the lock.
 */
#include "postgres.h"

#include <signal.h>

#include "commands/dbcommands.h"
#include "utils/timestamp.h"

#include "base/shmem.h"
#include "worker/eviction.h"
#include "worker/worker.h"

#define GRACE_SECONDS 2			/* until it is cancelled, and then terminated */

/*
 * The linker that is about to leave, or NULL; the caller holds the lock. One that was
 * terminated and is there still is not waited for.
 */
static AtlasDatabase *
find_leaving(void)
{
	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
	{
		AtlasDatabase *slot = &atlas_shared->databases[i];

		if (OidIsValid(slot->database) && slot->pid != 0 &&
			(slot->pressure == ATLAS_ASKED || slot->pressure == ATLAS_CANCELLED))
			return slot;
	}
	return NULL;
}

/* The linker that is to leave next: an idle one, or that with the longest turn. */
static AtlasDatabase *
find_longest(TimestampTz now)
{
	AtlasDatabase *longest = NULL;

	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
	{
		AtlasDatabase *slot = &atlas_shared->databases[i];

		if (!OidIsValid(slot->database) || slot->pid == 0 || slot->pressure != ATLAS_NO_PRESSURE)
			continue;
		if (slot->state == ATLAS_LINKER_IDLE)
			return slot;
		if (TimestampDifferenceExceeds(slot->started_at, now, ATLAS_TURN_MILLISECONDS) &&
			(longest == NULL || slot->started_at < longest->started_at))
			longest = slot;
	}
	return longest;
}

/* Uses more pressure on a linker that has had its time; true if it did. */
static bool
press(AtlasDatabase *slot, TimestampTz now)
{
	if (!TimestampDifferenceExceeds(slot->asked_at, now, GRACE_SECONDS * 1000))
		return false;
	slot->pressure++;
	slot->asked_at = now;
	(void) kill(slot->pid, slot->pressure == ATLAS_CANCELLED ? SIGINT : SIGTERM);
	return true;
}

static void
log_pressure(Oid database, AtlasPressure pressure)
{
	char	   *name;

	atlas_worker_begin();
	name = get_database_name(database);
	if (name == NULL)
		name = "";				/* dropped meanwhile */
	if (pressure == ATLAS_CANCELLED)
		ereport(LOG,
				(errmsg("the atlas_events linker of database \"%s\" has not made room for other databases for %d seconds; what it does is cancelled",
						name, GRACE_SECONDS),
				 errdetail("What it was linking is tried again.")));
	else
		ereport(LOG,
				(errmsg("the atlas_events linker of database \"%s\" cannot be cancelled; it is terminated",
						name),
				 errdetail("What it was linking is tried again.")));
	atlas_worker_commit();
}

void
atlas_evict_one(TimestampTz now)
{
	AtlasDatabase *slot;
	Oid			database = InvalidOid;
	AtlasPressure pressure = ATLAS_NO_PRESSURE;
	bool		pressed = false;

	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	slot = find_leaving();
	if (slot != NULL)
	{
		pressed = press(slot, now);
		database = slot->database;
		pressure = slot->pressure;
	}
	else if ((slot = find_longest(now)) != NULL)
	{
		/* It may have more to do: it stays pending and comes back in turn. */
		slot->pressure = ATLAS_ASKED;
		slot->asked_at = now;
		atlas_shmem_nudge(slot);
	}
	LWLockRelease(atlas_shared->lock);
	if (pressed)
		log_pressure(database, pressure);
}
