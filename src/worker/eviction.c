/*
 * eviction.c
 *		Makes linkers leave when more databases have work than there are workers.
 *
 * The linker that has had the longest turn is asked to leave, which it does after its
 * batch. A linker that does not leave within the grace time is stuck, for example in a
 * view that never ends, so what it does is cancelled. Then the objects of that view are
 * put off, the others of the batch are linked, and it leaves in good order. A linker that
 * does not even heed the cancel is terminated. The next linker of the database gets
 * smaller batches, so that a batch that merely takes long comes to its end: see linker.c.
 *
 * The pressure on a linker is changed here, and by the linker itself when it comes and
 * goes. Both hold the lock.
 */
#include "postgres.h"

#include <signal.h>

#include "commands/dbcommands.h"
#include "utils/timestamp.h"

#include "base/shmem.h"
#include "worker/eviction.h"
#include "worker/worker.h"

#define GRACE_SECONDS 2			/* until a linker is cancelled, and then terminated */

/*
 * The linker that is about to leave, or NULL. The caller holds the lock. One that was
 * terminated and is still there is not waited for.
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

/*
 * The linker that is to leave next: an idle one, or the one with the longest turn. NULL
 * if none has had its turn.
 */
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

/* Puts more pressure on a linker whose grace time is over. Returns whether it did. */
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

/* Says in the log what was done to a linker. The name of its database takes a transaction. */
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

/* Only one linker at a time is on its way out. */
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
