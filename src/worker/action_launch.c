/*
 * action_launch.c
 *		Starting action workers, and making them leave, on behalf of the launcher.
 *
 * An action worker has the session of one role in one database, and does one action after another. They share
 * max_workers with the linkers: half of the workers do actions at most, so that links do not wait for actions. If
 * there is a single worker, linkers and actions have it in turn.
 *
 * Only the time that an action takes is limited, by a timer in its own process. A function that pays no heed
 * to the timer is ended together with its process some seconds later.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/timestamp.h"

#include "base/action_sessions.h"
#include "base/shmem.h"
#include "worker/action_launch.h"
#include "worker/eviction.h"
#include "worker/worker.h"

#define GRACE_SECONDS 5			/* beyond action_timeout, until a process is terminated */
#define LOOK_MILLISECONDS 5000	/* between two looks whether one is to be */
#define MOST_FAILURES 3			/* after which the linker has to ask again */
#define RETRY_MILLISECONDS 1000 /* when there was no worker slot */
#define MAX_BACKOFF_EXPONENT 6	/* 64 seconds */

static BackgroundWorkerHandle *handles[ATLAS_MAX_ACTION_SESSIONS];
static bool slot_missing = false;	/* it has been logged already */

/* Most action workers at a time. */
static int
most_workers(void)
{
	return Max(atlas_max_workers / 2, 1);
}

/* The caller holds the lock. */
static bool
is_there(const AtlasActionSession *session)
{
	return OidIsValid(session->database) && (session->pid != 0 || session->is_starting);
}

int
atlas_action_workers_running(void)
{
	int			result = 0;

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	for (int i = 0; i < ATLAS_MAX_ACTION_SESSIONS; i++)
		if (is_there(&atlas_shared->action_sessions[i]) || handles[i] != NULL)
			result++;
	LWLockRelease(atlas_shared->lock);
	return result;
}

/* Could one be started? No session comes to a database that a command needs for itself. The caller holds the lock. */
static bool
may_start(int index, TimestampTz now)
{
	const AtlasActionSession *session = &atlas_shared->action_sessions[index];
	const AtlasDatabase *slot;

	if (!OidIsValid(session->database) || !session->is_wanted || is_there(session) || handles[index] != NULL ||
		session->not_before > now)
		return false;
	slot = atlas_shmem_find(session->database);
	return slot != NULL && slot->holders == 0;
}

/* The next one in turn that could be started, marked as such if it is to be; -1: there is none. */
static int
find_wanted(TimestampTz now, bool is_starting)
{
	static int	last = 0;
	int			result = -1;

	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = 1; i <= ATLAS_MAX_ACTION_SESSIONS && result < 0; i++)
	{
		int			index = (last + i) % ATLAS_MAX_ACTION_SESSIONS;

		if (may_start(index, now))
			result = index;
	}
	if (result >= 0 && is_starting)
	{
		last = result;
		atlas_shared->action_sessions[result].is_starting = true;
		atlas_shared->action_sessions[result].must_leave = false;
	}
	LWLockRelease(atlas_shared->lock);
	return result;
}

bool
atlas_action_worker_waits(TimestampTz now, bool *may_have_room)
{
	*may_have_room = atlas_action_workers_running() < most_workers();
	return find_wanted(now, false) >= 0;
}

/* It did not come: another one waits for a while. The caller holds the lock. */
static void
put_off_start(AtlasActionSession *session, TimestampTz now, int milliseconds)
{
	session->is_starting = false;
	session->not_before = TimestampTzPlusMilliseconds(now, milliseconds);
}

/* Nobody can come to a database, or as a role, that is not there any more. Returns whether this is so. */
static bool
forget_if_dropped(AtlasActionSession *session)
{
	if (atlas_worker_can_come(session->database, session->role))
		return false;
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	session->database = InvalidOid;
	session->is_starting = false;
	session->is_wanted = false;
	LWLockRelease(atlas_shared->lock);
	return true;
}

bool
atlas_action_worker_start(TimestampTz now)
{
	BackgroundWorker worker = {0};
	int			index;

	if (atlas_action_workers_running() >= most_workers())
		return false;
	index = find_wanted(now, true);
	if (index < 0)
		return false;
	/* Nobody else changes the place while it is starting. */
	if (forget_if_dropped(&atlas_shared->action_sessions[index]))
		return true;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(index);
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "atlas_events", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "atlas_action_worker_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "atlas_events action worker", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "atlas_events action worker", sizeof(worker.bgw_type));
	if (RegisterDynamicBackgroundWorker(&worker, &handles[index]))
	{
		slot_missing = false;
		return true;
	}

	handles[index] = NULL;
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	put_off_start(&atlas_shared->action_sessions[index], now, RETRY_MILLISECONDS);
	LWLockRelease(atlas_shared->lock);
	if (!slot_missing)
		ereport(LOG,
				(errmsg("no background worker slot is free for an atlas_events action worker"),
				 errhint("Increase max_worker_processes; actions wait until one is free.")));
	slot_missing = true;
	return false;
}

/* Terminates a process whose action should have been over for some time. The caller holds the lock. */
static bool
terminate_late(AtlasActionSession *session, TimestampTz now)
{
	if (session->pid == 0 || session->ends_by == 0 || session->was_late ||
		now < TimestampTzPlusMilliseconds(session->ends_by, GRACE_SECONDS * 1000))
		return false;
	session->was_late = true;
	(void) kill(session->pid, SIGTERM);
	return true;
}

/* A process that has ended before it could take its place has not said so. The caller holds the lock. */
static void
check_start(AtlasActionSession *session, TimestampTz now)
{
	if (!session->is_starting || session->pid != 0)
		return;
	session->failures++;
	session->is_wanted &= session->failures <= MOST_FAILURES;
	put_off_start(session, now, 1000 << Min(session->failures, MAX_BACKOFF_EXPONENT));
}

void
atlas_action_workers_check(TimestampTz now)
{
	int			nterminated = 0;

	for (int i = 0; i < ATLAS_MAX_ACTION_SESSIONS; i++)
	{
		AtlasActionSession *session = &atlas_shared->action_sessions[i];
		pid_t		pid;
		bool		has_ended = handles[i] != NULL && GetBackgroundWorkerPid(handles[i], &pid) == BGWH_STOPPED;

		if (has_ended)
		{
			pfree(handles[i]);
			handles[i] = NULL;
		}
		LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
		if (has_ended)
			check_start(session, now);
		nterminated += terminate_late(session, now);
		LWLockRelease(atlas_shared->lock);
	}
	if (nterminated > 0)
		ereport(LOG,
				(errmsg("%d atlas_events action workers are terminated, because an action did not end within %d seconds after atlas_events.action_timeout",
						nterminated, GRACE_SECONDS),
				 errdetail("The attempt is counted, and the action is tried again.")));
}

void
atlas_action_workers_press(TimestampTz now)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ATLAS_MAX_ACTION_SESSIONS; i++)
	{
		AtlasActionSession *session = &atlas_shared->action_sessions[i];

		if (session->pid == 0 || session->must_leave ||
			(!session->is_idle && !TimestampDifferenceExceeds(session->started_at, now, ATLAS_TURN_MILLISECONDS)))
			continue;
		session->must_leave = true;
		atlas_action_session_wake(session);
	}
	LWLockRelease(atlas_shared->lock);
}

/* When there is something to do about one of them; 0: never. The caller holds the lock. */
static TimestampTz
next_look_at(const AtlasActionSession *session, TimestampTz now)
{
	if (!OidIsValid(session->database))
		return 0;
	if (session->pid != 0)
		return TimestampTzPlusMilliseconds(now, LOOK_MILLISECONDS);
	return session->is_wanted && !is_there(session) ? session->not_before : 0;
}

TimestampTz
atlas_action_workers_next_look(TimestampTz now, TimestampTz until)
{
	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	for (int i = 0; i < ATLAS_MAX_ACTION_SESSIONS; i++)
	{
		TimestampTz due = next_look_at(&atlas_shared->action_sessions[i], now);

		if (due > now && due < until)
			until = due;
	}
	LWLockRelease(atlas_shared->lock);
	return until;
}

void
atlas_action_workers_forget(bool starting, TimestampTz now)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ATLAS_MAX_ACTION_SESSIONS; i++)
	{
		AtlasActionSession *session = &atlas_shared->action_sessions[i];

		if (starting && session->pid == 0)
			session->is_starting = false;
		session->not_before = Min(session->not_before, now);
		session->started_at = Min(session->started_at, now);
	}
	LWLockRelease(atlas_shared->lock);
}
