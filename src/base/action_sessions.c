/*
 * action_sessions.c
 *		The sessions in which actions of rules are done, in shared memory.
 */
#include "postgres.h"

#include <signal.h>

#include "base/action_sessions.h"
#include "base/shmem.h"

void
atlas_action_session_wake(AtlasActionSession *session)
{
	(void) atlas_shmem_set_latch(&session->latch);
}

/* Does nobody need the place? What was wanted in a database that is gone is not wanted any more. */
static bool
is_free(const AtlasActionSession *session)
{
	return !OidIsValid(session->database) ||
		(session->pid == 0 && !session->is_starting &&
		 (!session->is_wanted || atlas_shmem_find(session->database) == NULL));
}

/* The place of a database and role, else a free one, else NULL. */
static AtlasActionSession *
find_place(Oid database, Oid role)
{
	AtlasActionSession *free_place = NULL;

	for (int i = 0; i < ATLAS_MAX_ACTION_SESSIONS; i++)
	{
		AtlasActionSession *session = &atlas_shared->action_sessions[i];

		if (session->database == database && session->role == role)
			return session;
		if (free_place == NULL && is_free(session))
			free_place = session;
	}
	if (free_place != NULL)
	{
		free_place->database = database;
		free_place->role = role;
		free_place->is_wanted = false;
		free_place->not_before = 0;
		free_place->failures = 0;
		free_place->was_late = false;
	}
	return free_place;
}

bool
atlas_action_session_want(Oid database, Oid role)
{
	AtlasActionSession *session;
	bool		runs = false;

	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	session = find_place(database, role);
	if (session != NULL)
	{
		session->is_wanted = true;
		runs = session->pid != 0;
	}
	LWLockRelease(atlas_shared->lock);
	if (runs)
		atlas_action_session_wake(session);
	else
		atlas_shmem_wake_launcher();
	return session != NULL;
}

/* What is to be done with the processes of a database. */
typedef enum Order
{
	LOOK,
	ASK,
	TERMINATE
} Order;

/* Does it, and returns whether there are any. */
static bool
give_order(Oid database, Order order)
{
	bool		found = false;

	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ATLAS_MAX_ACTION_SESSIONS; i++)
	{
		AtlasActionSession *session = &atlas_shared->action_sessions[i];

		if (session->database != database || (session->pid == 0 && !session->is_starting))
			continue;
		found = true;
		if (order != LOOK)
			session->must_leave = true;
		if (order == ASK)
			atlas_action_session_wake(session);
		if (order == TERMINATE && session->pid != 0)
			(void) kill(session->pid, SIGTERM);
	}
	LWLockRelease(atlas_shared->lock);
	return found;
}

void
atlas_action_sessions_ask(Oid database)
{
	(void) give_order(database, ASK);
}

bool
atlas_action_sessions_are_there(Oid database)
{
	return give_order(database, LOOK);
}

void
atlas_action_sessions_terminate(Oid database)
{
	(void) give_order(database, TERMINATE);
}
