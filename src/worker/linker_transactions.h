/*
 * linker_transactions.h
 *		The transactions of a linker, and what it knows between them.
 */
#ifndef ATLAS_LINKER_TRANSACTIONS_H
#define ATLAS_LINKER_TRANSACTIONS_H

#include "base/shmem.h"
#include "store/queue.h"

/* A linker is alone in its process. */
typedef struct AtlasLinker
{
	AtlasDatabase *slot;
	AtlasLinkerState exit_state;	/* what the slot says afterwards */
	bool		has_no_extension;
	bool		finished;		/* there was nothing left to do */
	int			batch_size;		/* atlas_events.batch_size, or less after an eviction */
	bool		was_evicted;	/* the linker before: see eviction.c */

	AtlasCursor cursor;
	bool		left_some;		/* events that somebody else has locked */
	TimestampTz next_due;		/* of what is to be tried again */
	TimestampTz next_round;		/* sweep, partitions, may it link */

	/* After a linker was killed, batches are noted until then; see linker_note.c. */
	TimestampTz careful_until;	/* 0: they are not */
	bool		state_noted;
	bool		batch_noted;
} AtlasLinker;

extern AtlasLinker atlas_linker;

/*
 * Each step is a transaction or a few. They return false when the linker is to
 * leave, and raise errors that are no event's fault.
 */

/* What is due every naptime. */
extern bool atlas_step_round(bool *has_work);

/* Notes that this linker is at work; returns what the one before was at. */
extern bool atlas_step_begin(pg_uuid_t **suspects, int *nsuspects);

/* Links one event that the linker before may have been killed by. */
extern bool atlas_step_suspect(pg_uuid_t id);

/* Links a batch; *claimed is less than the batch size when nothing is left. */
extern bool atlas_step_batch(int *claimed);

/* Looks up unresolved references again, as many as are due, up to a batch. */
extern bool atlas_step_relink(int *claimed);

/* No kill for some time: batches need not be noted any more. */
extern bool atlas_step_relax(void);

/* Removes the note, or leaves no event under suspicion. */
extern void atlas_step_end(void);

static inline bool
atlas_linker_is_careful(void)
{
	return atlas_linker.careful_until != 0;
}

#endif							/* ATLAS_LINKER_TRANSACTIONS_H */
