/*
 * linker_work.c
 *		The transactions of a linker that come after linking: documents, rules, and rebuilds of documents.
 *
 * Links never wait for them, nor end with them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/action_sessions.h"
#include "base/identity.h"
#include "base/retry.h"
#include "base/shmem.h"
#include "base/subtransaction.h"
#include "link/put_off.h"
#include "rules/action_function.h"
#include "rules/rule_actions.h"
#include "rules/rule_batch.h"
#include "rules/rule_begin.h"
#include "rules/rule_lock.h"
#include "store/work.h"
#include "work/rebuild.h"
#include "work/work_batch.h"
#include "worker/linker_note.h"
#include "worker/linker_transactions.h"
#include "worker/linker_work.h"

#define KILLED_MESSAGE "the linker was killed while it indexed this event"
#define EVICTED_MESSAGE "the linker came to no end with the document of this event and was terminated"
#define WORK_LOCK_TIMEOUT "100ms"

#define FIRST_WORK 250			/* events in a batch of the second step, at first */
#define WORK_FOR_LINKS 4		/* at most, for each event in a batch of the first step */
#define MILLISECONDS_OF_WORK 200	/* that such a batch may take */
#define MILLISECONDS_BESIDE_LINKS 50
#define WORK_REST_MILLISECONDS 2000	/* after a lock was in the way */
#define WORK_ERROR_REST_MILLISECONDS 30000	/* after another error */

/* A batch of the second step, in the transaction that is under way. */
typedef struct WorkStep
{
	void		(*work) (struct WorkStep *step);
	int			limit;
	int			claimed;
	AtlasEventKey *keys;		/* if they were claimed before */
	int			left;
	bool		more;
	TimestampTz *not_before;	/* set if it is to rest */
} WorkStep;

/* The body of the subtransaction of a step. */
static void
do_work_step(void *argument)
{
	WorkStep   *step = argument;

	step->work(step);
}

/* Has this part of the second step rest for a while. What was claimed is looked for again then. */
static void
rest_from_work(const WorkStep *step, const ErrorData *error)
{
	bool		is_lock = atlas_is_lock_conflict(error);
	int			rest = is_lock ? WORK_REST_MILLISECONDS : WORK_ERROR_REST_MILLISECONDS;

	atlas_log_put_off(error->message, "atlas_event_work");
	if (!is_lock)
		atlas_shmem_note_error(atlas_linker.slot, error->message);
	*step->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), rest);
	atlas_linker.work_cursor.sweep_next = true;
}

/*
 * Does a part of the second step. Links must not wait for it, nor end with it. So a lock that
 * is in the way, as that of a REINDEX, is waited for only for a moment, and after an
 * error, as that of a partition that cannot be read, the second step rests for a while.
 */
static bool
run_work_step(const char *activity, WorkStep *step)
{
	AtlasIdentity saved;
	ErrorData  *error;

	if (!atlas_linker_begin_step(activity, &saved))
		return false;
	atlas_set_for_now("lock_timeout", WORK_LOCK_TIMEOUT);
	error = atlas_try(do_work_step, step);
	if (error != NULL && atlas_is_cancel(error))
		ReThrowError(error);
	if (error != NULL)
	{
		rest_from_work(step, error);
		step->claimed = 0;
		step->left = 0;
		step->more = false;
	}
	atlas_linker_end_step(&saved);
	return true;
}

/* Is a part of the second step to rest, because something was in its way? */
static bool
rests_until(TimestampTz not_before)
{
	TimestampTz now = GetCurrentTimestamp();

	return not_before != 0 && now < not_before &&
		!TimestampDifferenceExceeds(now, not_before, WORK_ERROR_REST_MILLISECONDS + 1);
}

/*
 * If rules were left because somebody else writes hits, finds out whether he has ended, and has those events claimed
 * once more then. Until that they are not looked at, however many there are.
 */
static void
look_after_left_rules(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!atlas_linker.rules_left || rests_until(atlas_linker.rules_not_before))
		return;
	atlas_linker.rules_not_before = TimestampTzPlusMilliseconds(now, WORK_REST_MILLISECONDS);
	if (!atlas_rules_are_free())
		return;
	atlas_linker.rules_left = false;
	atlas_linker.work_cursor.sweep_next = true;
}

/* Notes that rules were left, for a while. */
static void
note_left_rules(int left)
{
	if ((left & ATLAS_LEFT_RULES) == 0)
		return;
	atlas_linker.rules_left = true;
	atlas_linker.rules_not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WORK_REST_MILLISECONDS);
}

/* Claims a batch and works on it. */
static void
claim_and_work(WorkStep *step)
{
	look_after_left_rules();
	step->claimed = atlas_work_batch(&atlas_linker.work_cursor, step->limit, &step->left);
}

/* Claims a batch and notes it. */
static void
claim_and_note(WorkStep *step)
{
	AtlasEventKey *keys = palloc(sizeof(AtlasEventKey) * step->limit);

	look_after_left_rules();
	step->claimed = atlas_queue_claim_batch(&atlas_linker.work_cursor, step->limit, keys);
	atlas_linker_note_batch(ATLAS_TO_WORK_ON, keys, step->claimed);
	memcpy(step->keys, atlas_event_keys_copy(keys, step->claimed, GetMemoryChunkContext(step->keys)),
		   sizeof(AtlasEventKey) * step->claimed);
}

/* Works on what has been claimed before. */
static void
work_on_noted(WorkStep *step)
{
	step->left = atlas_work_on(step->keys, atlas_work_claim_again(step->keys, step->claimed));
	if (step->left & ~ATLAS_LEFT_RULES)
		atlas_linker.work_cursor.sweep_next = true;
}

/* Has rules begin. */
static void
go_on_with_rules(WorkStep *step)
{
	step->more = atlas_rules_begin();
}

/* Writes rows for a rebuild. */
static void
go_on_with_rebuild(WorkStep *step)
{
	step->more = atlas_rebuild_step(step->limit);
}

/* Claims and notes a batch, and works on it in another transaction. */
static bool
work_on_noted_batch(WorkStep *step)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "atlas_events noted batch",
												  ALLOCSET_DEFAULT_SIZES);
	bool		stay;

	step->keys = MemoryContextAlloc(context, sizeof(AtlasEventKey) * step->limit);
	step->work = claim_and_note;
	stay = run_work_step("noting a batch", step);
	step->more = step->claimed >= step->limit;
	step->work = work_on_noted;
	if (stay && step->claimed > 0)
		stay = run_work_step("indexing", step);
	MemoryContextDelete(context);
	return stay;
}

/*
 * Chooses the size of the next batch. While there are full ones, each is larger than the one
 * before, because a large one takes less time for each event; but an event that comes
 * meanwhile must not wait for long to be linked.
 */
static void
choose_work_size(const WorkStep *step, int64 milliseconds, bool links_come)
{
	int			most = links_come ? MILLISECONDS_BESIDE_LINKS : MILLISECONDS_OF_WORK;

	if (!step->more)
		atlas_linker.work_size = FIRST_WORK;
	else if (milliseconds < most / 2)
		atlas_linker.work_size = Min(step->limit * 2, ATLAS_MAX_WORK_BATCH);
	else if (milliseconds > most)
		atlas_linker.work_size = Max(step->limit / 2, FIRST_WORK);
}

bool
atlas_step_work(bool links_come, bool *more)
{
	TimestampTz start = GetCurrentTimestamp();
	WorkStep	step = {.work = claim_and_work,.not_before = &atlas_linker.work_not_before};
	bool		stay;

	*more = false;
	if (rests_until(*step.not_before))
		return true;
	step.limit = Min(Max(atlas_linker.work_size, FIRST_WORK), WORK_FOR_LINKS * atlas_linker.batch_size);
	if (atlas_linker_is_careful())
	{
		step.limit = Min(FIRST_WORK, atlas_linker.batch_size);
		stay = work_on_noted_batch(&step);
	}
	else
	{
		stay = run_work_step("indexing", &step);
		step.more = step.claimed >= step.limit;
	}
	step.more |= (step.left & ATLAS_LEFT_FOR_TIME) != 0;
	note_left_rules(step.left);
	choose_work_size(&step, TimestampDifferenceMilliseconds(start, GetCurrentTimestamp()), links_come);
	*more = step.more;
	return stay;
}

/* In a transaction of its own, which is over soon: nobody can evaluate rules meanwhile. */
bool
atlas_step_rules(bool *more)
{
	WorkStep	step = {.work = go_on_with_rules,.not_before = &atlas_linker.work_not_before};

	*more = false;
	if (!atlas_linker.rules_wait || rests_until(*step.not_before))
		return true;
	if (!run_work_step("having rules begin", &step))
		return false;
	*more = step.more;
	return true;
}

bool
atlas_step_rebuild(bool *more)
{
	WorkStep	step = {.work = go_on_with_rebuild,.limit = ATLAS_MAX_WORK_BATCH,
	.not_before = &atlas_linker.rebuild_not_before};

	*more = false;
	if (!atlas_linker.rebuild_is_due || rests_until(*step.not_before))
		return true;
	if (!run_work_step("rebuilding documents", &step))
		return false;
	*more = step.more;
	return true;
}

/* Has the due actions of a role FAILED that can have no session. */
static void
fail_actions_of_role(const text *role, const char *message)
{
	int64		rule = 0;
	text	   *tenant;

	while ((rule = atlas_next_acting_rule(role, rule, &tenant)) != 0)
		while (atlas_actions_fail_of_rule(role, rule, message))
			CHECK_FOR_INTERRUPTS();
}

/* Asks for a worker with a session of the role, if there is something to do in it here. */
static bool
ask_for_session(const text *role_name)
{
	const char *name = text_to_cstring(role_name);
	Oid			role = name[0] == '\0' ? InvalidOid : get_role_oid(name, true);
	const char *problem = name[0] == '\0' ? NULL : atlas_action_role_problem(role);
	text	   *tenant;

	if (problem != NULL)
	{
		fail_actions_of_role(role_name, psprintf("role \"%s\" %s", name, problem));
		return true;
	}
	return atlas_next_acting_rule(role_name, 0, &tenant) == 0 || atlas_action_session_want(MyDatabaseId, role);
}

/* Asks for all of them. If there is no place for some, they are asked for again. */
static void
ask_for_sessions(WorkStep *step)
{
	text	   *role = NULL;

	while ((role = atlas_next_acting_role(role)) != NULL)
		step->more |= !ask_for_session(role);
}

bool
atlas_step_actions(void)
{
	WorkStep	step = {.work = ask_for_sessions,.not_before = &atlas_linker.actions_not_before};

	atlas_linker.actions_are_due |= atlas_actions_were_written();
	if (!atlas_linker.actions_are_due || rests_until(*step.not_before))
		return true;
	atlas_linker.actions_are_due = false;
	if (!run_work_step("asking for action workers", &step))
		return false;
	atlas_linker.actions_are_due = step.more || *step.not_before > GetCurrentTimestamp();
	return true;
}

/* Reads which rules are evaluated for an event, in memory that outlives the transaction. */
static bool
read_rules_of_suspect(AtlasEventKey *key, MemoryContext context, List **rules)
{
	AtlasIdentity saved;
	MemoryContext old;

	*rules = NIL;
	if (!atlas_linker_begin_step("looking for rules", &saved))
		return false;
	if (atlas_work_claim_again(key, 1) > 0 && (key->what & ATLAS_WORK_RULES) && key->attempts > 0)
	{
		*key = *atlas_event_keys_copy(key, 1, context);
		old = MemoryContextSwitchTo(context);
		*rules = atlas_rules_of_suspect(key);
		MemoryContextSwitchTo(old);
	}
	atlas_linker_end_step(&saved);
	return true;
}

/*
 * An event that has ended a linker when it was alone may have done so by a rule. Tries each of
 * its rules, which is noted before. One that ends this linker as well is switched off by the next one.
 */
static bool
try_rules_of_suspect(AtlasEventKey key)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "atlas_events rules of suspect",
												  ALLOCSET_DEFAULT_SIZES);
	AtlasIdentity saved;
	List	   *rules;
	ListCell   *cell;
	bool		stay = read_rules_of_suspect(&key, context, &rules);

	foreach(cell, rules)
	{
		stay = stay && atlas_linker_begin_step("noting a rule", &saved);
		if (!stay)
			break;
		atlas_linker_note_rule(lfirst(cell));
		atlas_linker_end_step(&saved);
		stay = atlas_linker_begin_step("trying a rule", &saved);
		if (!stay)
			break;
		atlas_rule_try_suspect(&key, lfirst(cell));
		atlas_linker_end_step(&saved);
	}
	MemoryContextDelete(context);
	return stay;
}

/*
 * An attempt is counted before it is made. The row is found by its place, which that
 * changes, so that what is still suspected is noted anew with it.
 */
bool
atlas_step_work_on_suspect(AtlasEventKey *suspects, int nsuspects)
{
	AtlasIdentity saved;
	const char *reason = atlas_linker.was_evicted ? EVICTED_MESSAGE : KILLED_MESSAGE;
	AtlasEventKey key = suspects[0];
	bool		goes_on = false;

	if (!try_rules_of_suspect(key) || !atlas_linker_begin_step("counting an attempt", &saved))
		return false;
	if (atlas_work_claim_again(&key, 1) > 0)
	{
		goes_on = atlas_work_failed(&key, false, reason);
		suspects[0].place = key.place;
		atlas_linker_note_write(ATLAS_TO_WORK_ON, suspects, nsuspects);
	}
	atlas_linker_end_step(&saved);
	if (!goes_on)
		return true;

	key = suspects[0];
	if (!atlas_linker_begin_step("indexing one event", &saved))
		return false;
	if (atlas_work_claim_again(&key, 1) > 0)
		(void) atlas_work_on(&key, 1);
	ForceSyncCommit();
	atlas_linker_end_step(&saved);
	return true;
}
