/*
 * linker_transactions.h
 *		The transactions of a linker, and what it knows between them.
 */
#ifndef ATLAS_LINKER_TRANSACTIONS_H
#define ATLAS_LINKER_TRANSACTIONS_H

#include "base/identity.h"
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
	bool		rules_wait;		/* to begin */
	bool		actions_are_due;	/* or may be: action workers are to be asked for */
	TimestampTz actions_not_before; /* something was in the way of that */
	bool		rules_left;		/* of some events, because somebody else writes hits */
	TimestampTz rules_not_before;	/* when that is looked at again */
	TimestampTz next_due;		/* when something is to be tried again */
	TimestampTz next_round;		/* of what is due every naptime */

	/* After a linker was killed, batches are noted: see linker_note.c. */
	TimestampTz careful_until;	/* until then; 0: they are not noted */
	bool		state_noted;
	bool		batch_noted;
} AtlasLinker;

extern AtlasLinker atlas_linker;

/*
 * Begins a transaction as the owner of the extension. Returns false if there is no
 * extension.
 */
extern bool atlas_linker_begin_step(const char *activity, AtlasIdentity *saved);

/* Commits it. */
extern void atlas_linker_end_step(const AtlasIdentity *saved);

/* Notes a batch for the linker after this one, unless there is nothing to note. */
extern void atlas_linker_note_batch(AtlasBacklog backlog, const AtlasEventKey *keys, int nkeys);

/*
 * Each step is one transaction or a few. A step returns false if the linker is to leave,
 * and raises the errors that no event is to blame for.
 */

/* Does what is due every naptime, and asks whether there is work for this linker. */
extern bool atlas_step_round(bool *has_work);

/* Notes that this linker is at work. Returns the events that the one before was at work on. */
extern bool atlas_step_begin(AtlasBacklog *backlog, AtlasEventKey **suspects, int *nsuspects);

/* Links one of the events that may have killed the linker before. */
extern bool atlas_step_link_suspect(AtlasEventKey key);

/* Links a batch. *claimed is less than the batch size if nothing is left. */
extern bool atlas_step_batch(int *claimed);

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
