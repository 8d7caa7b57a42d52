/*
 * linker_transactions.h
 *		The transactions of a linker, and what it knows between them.
 */
#ifndef ATLAS_LINKER_TRANSACTIONS_H
#define ATLAS_LINKER_TRANSACTIONS_H

#include "base/shmem.h"
#include "store/queue_claim.h"

/* A linker is alone in its process. */
typedef struct AtlasLinker
{
	AtlasDatabase *slot;
	AtlasLinkerState exit_state;	/* what the slot says afterwards */
	bool		has_no_extension;
	bool		finished;		/* there was nothing left to do */
	int			batch_size;		/* atlas_events.batch_size, or less after an eviction */
	int			work_size;		/* of the next batch of the second step */
	bool		was_evicted;	/* the linker before this one was: see eviction.c */

	AtlasCursor cursor;			/* in the queue */
	AtlasCursor work_cursor;	/* in the work table */
	bool		left_some;		/* events that somebody else has locked */
	TimestampTz work_not_before;	/* something was in the way of the second step; 0: nothing was */
	TimestampTz rebuild_not_before; /* or of the rebuild */
	bool		rebuild_is_due;	/* of the documents */
	TimestampTz next_due;		/* when something is to be tried again */
	TimestampTz next_round;		/* of what is due every naptime */

	/* After a linker was killed, batches are noted: see linker_note.c. */
	TimestampTz careful_until;	/* until then; 0: they are not noted */
	bool		state_noted;
	bool		batch_noted;
} AtlasLinker;

extern AtlasLinker atlas_linker;

/*
 * Each step is one transaction or a few. A step returns false if the linker is to leave,
 * and raises the errors that no event is to blame for.
 */

/* Does what is due every naptime, and asks whether there is work for this linker. */
extern bool atlas_step_round(bool *has_work);

/* Notes that this linker is at work. Returns the events that the one before was at work on. */
extern bool atlas_step_begin(AtlasBacklog *backlog, AtlasEventKey **suspects, int *nsuspects);

/*
 * Links, or works on, the first of the events that may have killed the linker before; the
 * others are still to come.
 */
extern bool atlas_step_suspect(AtlasBacklog backlog, AtlasEventKey *suspects, int nsuspects);

/* Links a batch. *claimed is less than the batch size if nothing is left. */
extern bool atlas_step_batch(int *claimed);

/*
 * The second step, for a batch, which is to take less time while links come. *more says
 * whether there is more to do at once.
 */
extern bool atlas_step_work(bool links_come, bool *more);

/* Goes on with a rebuild of the documents, when nothing else is to be done. *more as above. */
extern bool atlas_step_rebuild(bool *more);

/* Looks up unresolved references again: those that are due, but no more than a batch. */
extern bool atlas_step_retry_unresolved(int *claimed);

/* Stops noting batches, because no linker was killed for some time. */
extern bool atlas_step_relax(void);

/* Removes the note, or writes one that suspects no event. */
extern void atlas_step_end(void);

static inline bool
atlas_linker_is_careful(void)
{
	return atlas_linker.careful_until != 0;
}

#endif							/* ATLAS_LINKER_TRANSACTIONS_H */
