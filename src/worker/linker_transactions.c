/*
 * linker_transactions.c
 *		The transactions of a linker.
 *
 * Each step begins by locking the extension, so that DROP EXTENSION waits for the end of
 * a batch, and runs as the extension's owner. Between two steps the linker holds no lock
 * and can leave.
 *
 * After a linker was killed, each batch is noted in a transaction of its own before it is
 * begun: see linker_note.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/extension.h"
#include "base/identity.h"
#include "base/retry.h"
#include "base/statement.h"
#include "base/subtransaction.h"
#include "link/link_batch.h"
#include "link/put_off.h"
#include "link/retry_unresolved.h"
#include "link/unresolved.h"
#include "rules/rule_actions.h"
#include "store/queue.h"
#include "store/rule_flags.h"
#include "work/rebuild.h"
#include "worker/housekeeping.h"
#include "worker/linker_note.h"
#include "worker/linker_transactions.h"
#include "worker/worker.h"

#define CAREFUL_SECONDS 600		/* for which batches are noted after a kill */
#define KILLED_MESSAGE "the linker was killed while it linked this event"
#define EVICTED_MESSAGE "the linker came to no end with this event and was terminated"

AtlasLinker atlas_linker = {.next_due = DT_NOEND};

static AtlasStatement select_subscription = {
	.sql = "SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid OPERATOR(pg_catalog.=) $1",
	.nparameters = 1,
	.parameters = {OIDOID},
};

bool
atlas_linker_begin_step(const char *activity, AtlasIdentity *saved)
{
	if (!atlas_worker_begin_step(activity))
	{
		atlas_linker.has_no_extension = true;
		atlas_linker.finished = true;
		return false;
	}
	atlas_become_owner(saved);
	return true;
}

void
atlas_linker_end_step(const AtlasIdentity *saved)
{
	atlas_return(saved);
	atlas_worker_end_step();
}

/* May this linker link here? If not, atlas_linker.exit_state says why. */
static bool
may_link(void)
{
	Datum		value = ObjectIdGetDatum(atlas_relation(ATLAS_EVENT_QUEUE));

	if (!atlas_linking)
	{
		atlas_linker.exit_state = ATLAS_LINKER_OFF;
		return false;
	}
	if (atlas_execute(&select_subscription, &value, NULL, true, 1) > 0)
	{
		atlas_linker.exit_state = ATLAS_LINKER_SUBSCRIBED;
		return false;
	}
	return true;
}

/* Housekeeping has a transaction of its own, so that its problems do not stop linking. */
static bool
keep_house(TimestampTz now)
{
	AtlasIdentity saved;

	if (!atlas_linker_begin_step("making partitions", &saved))
		return false;
	atlas_keep_house(atlas_linker.slot, now);
	atlas_linker_end_step(&saved);
	return true;
}

/*
 * Whether linking is allowed is asked in each round, because settings and subscriptions
 * change.
 */
bool
atlas_step_round(bool *has_work)
{
	AtlasIdentity saved;
	TimestampTz now = GetCurrentTimestamp();
	bool		stay;

	if (!atlas_linker_begin_step("looking for work", &saved))
		return false;
	stay = may_link();
	if (stay)
	{
		*has_work = atlas_queue_has_work();
		atlas_linker.rules_wait = atlas_any_rule_waits();
		atlas_linker.actions_are_due = true;
		atlas_linker.next_due = atlas_queue_next_due();
	}
	atlas_linker_end_step(&saved);
	atlas_linker.cursor.sweep_next = true;
	atlas_linker.work_cursor.sweep_next = true;
	atlas_linker.next_round = TimestampTzPlusMilliseconds(now, (int64) atlas_naptime * 1000);

	/* A subscription needs the partitions as well. */
	if ((stay || atlas_linker.exit_state == ATLAS_LINKER_SUBSCRIBED) && !keep_house(now))
		return false;
	return stay;
}

/*
 * Reads which events the linker before was at work on, if it did not end in good order. One
 * that was terminated did so, as far as its events are concerned, unless it was
 * terminated because it came to no end.
 */
static bool
read_note(AtlasBacklog *backlog, AtlasEventKey **keys, int *nkeys)
{
	bool		was_terminated;
	bool		found = atlas_linker_note_read(backlog, keys, nkeys);

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	was_terminated = atlas_linker.slot->was_terminated;
	atlas_linker.was_evicted = atlas_linker.slot->was_evicted;
	LWLockRelease(atlas_shared->lock);
	/* One by one, so that the next linker knows which event this one is stuck with. */
	if (atlas_linker.was_evicted)
		atlas_linker.batch_size = 1;
	if (!was_terminated || atlas_linker.was_evicted)
		return found;
	*nkeys = 0;
	return false;
}

/* Switches the rule off that the linker before was trying when it was killed. */
static void
blame_noted_rule(void)
{
	AtlasRuleFault *rule = atlas_linker_note_read_rule();

	if (rule == NULL)
		return;
	rule->reason = atlas_linker.was_evicted ? "the linker came to no end with its condition and was terminated" :
		"the linker was killed while it evaluated its condition";
	atlas_rule_switch_off(rule);
	ForceSyncCommit();
}

/* Writes the note that the next linker finds if this one is killed. */
bool
atlas_step_begin(AtlasBacklog *backlog, AtlasEventKey **suspects, int *nsuspects)
{
	AtlasIdentity saved;
	AtlasEventKey *keys;

	if (!atlas_linker_begin_step("beginning", &saved))
		return false;
	if (read_note(backlog, &keys, nsuspects))
	{
		blame_noted_rule();
		atlas_linker.careful_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													CAREFUL_SECONDS * INT64CONST(1000));
		/* The events are suspected still, but the rule is not. */
		atlas_linker_note_write(*backlog, keys, *nsuspects);
	}
	else
		atlas_linker_note_write(ATLAS_TO_LINK, NULL, 0);
	*suspects = atlas_event_keys_copy(keys, *nsuspects, TopMemoryContext);
	atlas_linker.state_noted = true;
	atlas_linker_end_step(&saved);
	return true;
}

/* Adds to the counters of the status view. */
static void
add_counts(const AtlasLinkCounts *counts)
{
	pg_atomic_fetch_add_u64(&atlas_linker.slot->linked, counts->linked);
	pg_atomic_fetch_add_u64(&atlas_linker.slot->not_found, counts->not_found);
}

/*
 * The attempt is counted before it is made, in a transaction of its own. So an event is
 * FAILED only after the last attempt has been made and has ended the linker as well.
 * Unresolved references are given up before they are looked up once more.
 */
bool
atlas_step_link_suspect(AtlasEventKey key)
{
	AtlasIdentity saved;
	const char *reason = atlas_linker.was_evicted ? EVICTED_MESSAGE : KILLED_MESSAGE;
	AtlasLinkCounts counts = {0};
	bool		queued;
	bool		unresolved;

	if (!atlas_linker_begin_step("counting an attempt", &saved))
		return false;
	queued = atlas_queue_claim_again(&key, 1) > 0;
	if (queued)
		atlas_link_failed(&key, false, reason);
	unresolved = atlas_unresolved_give_up(&key, reason);
	if (queued || unresolved)
		ForceSyncCommit();
	atlas_linker_end_step(&saved);
	if (!queued && !unresolved)
		return true;

	if (!atlas_linker_begin_step("linking one event", &saved))
		return false;
	if (atlas_queue_claim_again(&key, 1) > 0)
		atlas_link(&key, 1, &counts);
	atlas_retry_given_up(&key, reason);
	ForceSyncCommit();
	atlas_linker_end_step(&saved);
	add_counts(&counts);
	return true;
}

void
atlas_linker_note_batch(AtlasBacklog backlog, const AtlasEventKey *keys, int nkeys)
{
	if (nkeys > 0 || atlas_linker.batch_noted)
		atlas_linker_note_write(backlog, keys, nkeys);
	atlas_linker.batch_noted = nkeys > 0;
}

bool
atlas_step_relax(void)
{
	AtlasIdentity saved;

	if (!atlas_linker_begin_step("noting a batch", &saved))
		return false;
	atlas_linker_note_batch(ATLAS_TO_LINK, NULL, 0);
	atlas_linker_end_step(&saved);
	atlas_linker.careful_until = 0;
	atlas_linker.was_evicted = false;
	return true;
}

/* Claims a batch and links it. */
static bool
link_batch(int *claimed)
{
	AtlasIdentity saved;
	AtlasLinkCounts counts = {0};

	if (!atlas_linker_begin_step("linking", &saved))
		return false;
	*claimed = atlas_link_batch(&atlas_linker.cursor, atlas_linker.batch_size, &counts);
	atlas_linker_end_step(&saved);
	add_counts(&counts);
	return true;
}

/* Does the same in two steps, so that the batch is noted before it is begun. */
static bool
link_noted_batch(int *claimed)
{
	AtlasIdentity saved;
	AtlasLinkCounts counts = {0};
	AtlasEventKey *keys;
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "atlas_events noted batch",
												  ALLOCSET_DEFAULT_SIZES);

	if (!atlas_linker_begin_step("noting a batch", &saved))
		return false;
	keys = palloc(sizeof(AtlasEventKey) * atlas_linker.batch_size);
	*claimed = atlas_queue_claim_batch(&atlas_linker.cursor, atlas_linker.batch_size, keys);
	atlas_linker_note_batch(ATLAS_TO_LINK, keys, *claimed);
	keys = atlas_event_keys_copy(keys, *claimed, context);
	atlas_linker_end_step(&saved);

	if (*claimed > 0)
	{
		if (!atlas_linker_begin_step("linking", &saved))
			return false;
		atlas_link(keys, atlas_queue_claim_again(keys, *claimed), &counts);
		atlas_linker_end_step(&saved);
		add_counts(&counts);
	}
	MemoryContextDelete(context);
	return true;
}

bool
atlas_step_batch(int *claimed)
{
	return atlas_linker_is_careful() ? link_noted_batch(claimed) : link_batch(claimed);
}

/*
 * This comes after the batches, because new events are more urgent than references that
 * were not found before.
 */
bool
atlas_step_retry_unresolved(int *claimed)
{
	AtlasIdentity saved;

	*claimed = 0;
	if (atlas_linker.next_due <= GetCurrentTimestamp())
	{
		if (atlas_linker_is_careful())
		{
			AtlasEventKey *keys;

			if (!atlas_linker_begin_step("noting a batch", &saved))
				return false;
			keys = palloc(sizeof(AtlasEventKey) * atlas_linker.batch_size);
			atlas_linker_note_batch(ATLAS_TO_LINK, keys, atlas_unresolved_due_events(atlas_linker.batch_size, keys));
			atlas_linker_end_step(&saved);
		}
		if (!atlas_linker_begin_step("linking again", &saved))
			return false;
		*claimed = atlas_retry_unresolved(atlas_linker.batch_size);
		while (atlas_actions_make_due())
			CHECK_FOR_INTERRUPTS();
		atlas_linker_end_step(&saved);
	}
	if (!atlas_linker_begin_step("looking for work", &saved))
		return false;
	atlas_linker.next_due = atlas_queue_next_due();
	atlas_linker.left_some = atlas_queue_left_some(&atlas_linker.cursor);
	if (!atlas_linker.rules_left && atlas_queue_left_some(&atlas_linker.work_cursor))
		atlas_linker.left_some = true;
	atlas_linker.rebuild_is_due = atlas_rebuild_is_due();
	atlas_linker.rules_wait = atlas_any_rule_waits();
	atlas_linker_end_step(&saved);
	return true;
}

/*
 * If the linker is careful and leaves early, an empty note makes the next one careful as
 * well.
 */
void
atlas_step_end(void)
{
	AtlasIdentity saved;

	if (!atlas_linker.state_noted || !atlas_linker_begin_step("ending", &saved))
		return;
	if (atlas_linker_is_careful() && !atlas_linker.finished)
		atlas_linker_note_write(ATLAS_TO_LINK, NULL, 0);
	else
		atlas_linker_note_clear();
	atlas_linker_end_step(&saved);
	atlas_linker.state_noted = false;
}
