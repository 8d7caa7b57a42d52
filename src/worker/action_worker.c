/*
 * action_worker.c
 *		The background worker that does the actions of the rules of one role in one database.
 *
 *	the linker says that actions of a role are due ─► the launcher starts this worker, connected as that role
 *	─► claim some actions of a rule ─► do each in a transaction of its own ─► the next rule ─► ...
 *	─► nothing for idle_timeout: leave
 *
 * Rules come in turn, so that a rule whose actions are many or slow does not keep the others of its owner
 * waiting for long. Actions are not committed to the disk at once: what a crash undoes is what an action has done together with
 * the note that it was done. The claims of functions are, which may take the server down.
 *
 * The session of no role belongs to us, and sends notifications.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/action_sessions.h"
#include "base/compat.h"
#include "base/identity.h"
#include "base/shmem.h"
#include "rules/action_function.h"
#include "rules/action_run.h"
#include "store/queue.h"
#include "worker/action_worker.h"
#include "worker/worker.h"

#define MOST_AT_ONCE 16			/* actions that are claimed together */
#define LONG_MILLISECONDS 50	/* after an action that took so long they are claimed one by one */
#define MAX_BACKOFF_EXPONENT 6

/* All but these are the settings of the role. */
static const AtlasSetting settings[] = {
	{"application_name", "atlas_events action worker"},
	{"synchronous_commit", "off"},
	{NULL, NULL}
};

static AtlasActionSession *session = NULL;
static text *session_role = NULL;	/* its name; empty: it is ours */
static int64 last_rule = 0;		/* whose actions were claimed last */
static int	claim_size = MOST_AT_ONCE;
static bool in_good_order = false;	/* the worker ends without an error */
static bool has_finished = false;	/* and leaves nothing that is due */

/* ----- Coming and going ----- */

static void
set_idle(bool is_idle)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	session->is_idle = is_idle;
	LWLockRelease(atlas_shared->lock);
}

/* Does the session send notifications, in nobody's name? */
static bool
is_ours(void)
{
	return VARSIZE_ANY_EXHDR(session_role) == 0;
}

/* Says when the action that begins now should be over; 0 if none is under way. */
static void
set_end(TimestampTz ends_by)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	session->ends_by = ends_by;
	LWLockRelease(atlas_shared->lock);
}

/* Gives the place back, however the process ends. */
static void
give_place_back(int code, Datum argument)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockReleaseAll();
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	session->pid = 0;
	session->is_idle = false;
	session->ends_by = 0;
	session->failures = in_good_order || session->was_late ? 0 : session->failures + 1;
	session->not_before = session->failures == 0 ? 0 :
		TimestampTzPlusMilliseconds(now, 1000 << Min(session->failures, MAX_BACKOFF_EXPONENT));
	session->was_late = false;
	/* It may have left something, which the next one finds. */
	session->is_wanted = session->is_wanted || !has_finished;
	session->must_leave = false;
	pg_atomic_write_u64(&session->latch, 0);
	LWLockRelease(atlas_shared->lock);
	atlas_shmem_wake_launcher();
}

static void
occupy_place(void)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	session->pid = MyProcPid;
	session->is_starting = false;
	session->is_idle = false;
	session->started_at = GetCurrentTimestamp();
	session->ends_by = 0;
	session->was_late = false;
	pg_atomic_write_u64(&session->latch, (uint64) (uintptr_t) MyLatch);
	LWLockRelease(atlas_shared->lock);
	before_shmem_exit(give_place_back, (Datum) 0);
}

/* Is the worker to leave, because others wait, or the server or its settings change? */
static bool
is_to_leave(void)
{
	bool		leave;

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	leave = session->must_leave;
	LWLockRelease(atlas_shared->lock);
	CHECK_FOR_INTERRUPTS();
	/* The next one has the settings of the role as they are then. */
	return leave || ConfigReloadPending || ShutdownRequestPending;
}

/* ----- Steps ----- */

/* Begins a transaction with the rights of the owner of the extension. Its statements restrict the search_path themselves. */
static bool
begin_step(const char *activity, AtlasIdentity *saved)
{
	if (!atlas_worker_begin_step(activity))
	{
		/* Without the extension nothing is due. */
		has_finished = true;
		return false;
	}
	atlas_take_rights_of_owner(saved);
	return true;
}

static void
end_step(const AtlasIdentity *saved)
{
	atlas_return(saved);
	atlas_worker_end_step();
}

/* Is there still a session for whoever has this name? If not, it is for the linker to say so. */
static bool
role_is_as_it_was(void)
{
	char	   *name;

	if (is_ours())
		return true;
	name = GetUserNameFromId(GetSessionUserId(), true);
	return name != NULL && strcmp(name, text_to_cstring(session_role)) == 0 &&
		atlas_action_role_problem(GetSessionUserId()) == NULL;
}

/* Claims actions of the next rule. Returns false if the worker is to leave. */
static bool
claim_actions_of_rule(AtlasAction *actions, int *nactions, MemoryContext context)
{
	AtlasIdentity saved;
	text	   *tenant;
	int64		rule;

	*nactions = 0;
	if (!begin_step("claiming actions", &saved))
		return false;
	if (!role_is_as_it_was())
	{
		has_finished = true;
		end_step(&saved);
		return false;
	}
	rule = atlas_next_acting_rule(session_role, last_rule, &tenant);
	if (rule == 0 && last_rule != 0)
		rule = atlas_next_acting_rule(session_role, 0, &tenant);
	last_rule = rule;
	if (rule != 0)
		*nactions = atlas_actions_claim(session_role, rule, claim_size, actions);
	for (int i = 0; i < *nactions; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		actions[i].tenant = (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(actions[i].tenant));
		actions[i].object_id = (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(actions[i].object_id));
		MemoryContextSwitchTo(old);
	}
	end_step(&saved);
	return true;
}

/* Does one action, and notes how it ended. */
static void
run_action(const AtlasAction *action)
{
	AtlasIdentity saved;

	if (!begin_step("doing an action", &saved))
		return;
	atlas_action_run(action, is_ours());
	end_step(&saved);
}

/* Notes that the transaction of an action could not be committed, as when the queue of notifications is full. */
static void
note_failure(const AtlasAction *action, const char *message)
{
	AtlasIdentity saved;

	if (!begin_step("noting a failure", &saved))
		return;
	atlas_action_failed(action, message, is_ours());
	end_step(&saved);
}

/* Ends the transaction of an action that has raised an error at its end. */
static void
action_was_not_committed(const AtlasAction *action)
{
	ErrorData  *error;

	MemoryContextSwitchTo(TopMemoryContext);
	HOLD_INTERRUPTS();
	error = CopyErrorData();
	EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	atlas_worker_is_busy = false;
	note_failure(action, error->message);
	FreeErrorData(error);
}

/* Removes what an action of a role has left in the session. */
static void
clean_session(void)
{
	AtlasIdentity saved;

	if (is_ours() || !begin_step("cleaning the session", &saved))
		return;
	atlas_action_session_clean();
	end_step(&saved);
}

static void
do_timed_action(const AtlasAction *action)
{
	TimestampTz start = GetCurrentTimestamp();

	set_end(atlas_action_timeout == 0 ? 0 : TimestampTzPlusMilliseconds(start, atlas_action_timeout));
	PG_TRY();
	{
		run_action(action);
	}
	PG_CATCH();
	{
		action_was_not_committed(action);
	}
	PG_END_TRY();
	set_end(0);
	atlas_event_depth = 0;
	clean_session();
	claim_size = TimestampDifferenceExceeds(start, GetCurrentTimestamp(), LONG_MILLISECONDS) ? 1 : MOST_AT_ONCE;
}

/* Puts back what was claimed and is not to be done by this worker, or not yet. */
static void
put_back(const AtlasAction *actions, int nactions)
{
	AtlasIdentity saved;

	if (nactions == 0 || !begin_step("putting actions back", &saved))
		return;
	for (int i = 0; i < nactions; i++)
		atlas_action_put_back(&actions[i]);
	end_step(&saved);
}

/* Removes cooldowns that have ended, when there is nothing else to do. */
static void
clean_cooldowns(void)
{
	AtlasIdentity saved;
	bool		more = true;

	while (more && begin_step("removing cooldowns", &saved))
	{
		more = atlas_cooldowns_clean();
		end_step(&saved);
	}
}

/* ----- The life of an action worker ----- */

/* Does the actions of one claim. *more says whether there were any. Returns false if the worker is to leave. */
static bool
do_actions(bool *more)
{
	static MemoryContext context = NULL;
	AtlasAction actions[MOST_AT_ONCE];
	int			nactions;
	int			next = 0;
	bool		stay;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "atlas_events actions", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(context);
	stay = claim_actions_of_rule(actions, &nactions, context);
	*more = nactions > 0;
	/* After a slow one, rules have their turn again. */
	while (stay && next < nactions && (next == 0 || claim_size > 1))
	{
		stay = !is_to_leave();
		if (stay)
			do_timed_action(&actions[next++]);
	}
	put_back(actions + next, nactions - next);
	return stay;
}

/* Waits for actions. Returns false if there were none for idle_timeout. */
static bool
wait_for_actions(void)
{
	static uint32 wait_event = 0;
	int			reason;

	if (wait_event == 0)
		wait_event = atlas_wait_event("AtlasActionWorkerMain");
	set_idle(true);
	reason = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Max(atlas_idle_timeout, 1), wait_event);
	ResetLatch(MyLatch);
	set_idle(false);
	return (reason & WL_LATCH_SET) != 0;
}

/* Takes note of what is said to be due. Whatever is said later is looked at later. */
static void
clear_wanted(void)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	session->is_wanted = false;
	LWLockRelease(atlas_shared->lock);
}

static void
work_on_actions(void)
{
	bool		more;

	do
	{
		if (is_to_leave())
			return;
		has_finished = false;
		clear_wanted();
		do
		{
			if (!do_actions(&more))
				return;
		} while (more);
		/* If it has to make room while it waits, nobody needs to come in its place. */
		has_finished = true;
	} while (wait_for_actions());
	clean_cooldowns();
}

/* The name of the role of this session, in memory that lives as long as the process. */
static void
find_role(Oid role)
{
	MemoryContext old;
	char	   *name = "";

	atlas_worker_begin();
	if (OidIsValid(role))
		name = GetUserNameFromId(role, false);
	old = MemoryContextSwitchTo(TopMemoryContext);
	session_role = cstring_to_text(name);
	MemoryContextSwitchTo(old);
	atlas_worker_commit();
}

void
atlas_action_worker_main(Datum argument)
{
	Oid			database;
	Oid			role;

	session = &atlas_shared->action_sessions[DatumGetInt32(argument)];
	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	database = session->database;
	role = session->role;
	LWLockRelease(atlas_shared->lock);

	atlas_worker_connect(database, role, settings);
	atlas_worker_name_in_messages("action worker");
	occupy_place();
	find_role(role);
	work_on_actions();
	in_good_order = true;
	proc_exit(0);
}
