/*
 * wakeup.c
 *		Tells the linker, once a transaction has committed, that there is work.
 *
 * At XACT_EVENT_COMMIT the transaction's rows are visible to new snapshots. An
 * error there would be a PANIC, so the callback only stores atomically and calls
 * SetLatch; the slot has been found before. Events that a savepoint rolls back
 * are not counted.
 *
 * This is a hint. A prepared transaction, a restore or a crash set no latch; the
 * linker's and the launcher's own rounds find their events.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "base/shmem.h"
#include "base/wakeup.h"

/* What a (sub)transaction has done so far. */
typedef struct Pending
{
	int			level;			/* nesting level of the subtransaction */
	uint64		stored;
	uint64		queued;
	struct Pending *outer;
} Pending;

static Pending *pending = NULL;
static AtlasDatabase *slot = NULL;	/* while the transaction is interested in it */

/* Called at the end of each transaction; after a commit it must not raise an error. */
static void
wake_at_commit_or_forget(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (slot != NULL)
	{
		if (event == XACT_EVENT_COMMIT && pending != NULL)
		{
			pg_atomic_fetch_add_u64(&slot->submitted, pending->stored);
			if (pending->queued > 0)
				atlas_shmem_wake(slot);
		}
		atlas_shmem_release_interest(slot);
		slot = NULL;
	}
	pending = NULL;				/* it is in TopTransactionContext */
}

/* Takes the counts of a subtransaction into its parent, or drops them with it. */
static void
pass_counts_to_parent(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (pending == NULL || pending->level < level)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		pending = pending->outer;
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		Pending    *outer = pending->outer;

		if (outer == NULL || outer->level < level - 1)
			pending->level = level - 1;
		else
		{
			outer->stored += pending->stored;
			outer->queued += pending->queued;
			pending = outer;
		}
	}
}

void
atlas_wakeup_init(void)
{
	RegisterXactCallback(wake_at_commit_or_forget, NULL);
	RegisterSubXactCallback(pass_counts_to_parent, NULL);
}

void
atlas_wake_at_commit(int nstored, int nqueued)
{
	int			level = GetCurrentTransactionNestLevel();

	if (atlas_shared == NULL || nstored + nqueued == 0)
		return;
	if (slot == NULL)
		slot = atlas_shmem_declare_interest();
	if (slot == NULL)
		return;

	if (pending == NULL || pending->level < level)
	{
		Pending    *inner = MemoryContextAllocZero(TopTransactionContext, sizeof(Pending));

		inner->level = level;
		inner->outer = pending;
		pending = inner;
	}
	pending->stored += nstored;
	pending->queued += nqueued;
}
