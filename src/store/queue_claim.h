/*
 * queue_claim.h
 *		Claiming events from the queue, or from the work table.
 */
#ifndef ATLAS_QUEUE_CLAIM_H
#define ATLAS_QUEUE_CLAIM_H

#include "store/event_keys.h"

/* The tables from which events are claimed. Their cursors have the same index. */
typedef enum AtlasBacklog
{
	ATLAS_TO_LINK,				/* atlas_event_queue */
	ATLAS_TO_WORK_ON			/* atlas_event_work */
} AtlasBacklog;

/*
 * Where a linker is in one of them. Passes follow one another: each takes the
 * events of the transactions that were not finished when the pass before began.
 * A sweep is a pass over the whole table.
 *
 * A cursor that is all zero, except for the table and the context, begins with a sweep.
 */
typedef struct AtlasCursor
{
	AtlasBacklog backlog;
	MemoryContext context;		/* lives as long as the cursor */
	bool		in_pass;
	bool		sweep_next;		/* the next pass is a sweep, asked for by the caller */

	/* The pass: transactions one by one, then all from first_xid to last_xid. */
	uint64		first_xid;
	uint64		last_xid;
	uint64	   *unfinished;		/* at the start of the pass before */
	int			nunfinished;
	int			current;		/* index in unfinished; nunfinished: in the range */
	uint64		position_xid;	/* behind this event */
	pg_uuid_t	position_id;

	/* What the next pass begins with: the snapshot of this one. */
	uint64		next_xid;
	uint64	   *next_unfinished;
	int			nnext_unfinished;

	/* What the pass before began with, to see what it left, once. */
	bool		previous_seen;
	bool		left_some;
	uint64		previous_xid;
	uint64	   *previous_unfinished;
	int			nprevious_unfinished;
} AtlasCursor;

/*
 * Claims a batch of what is new and of what is due again. Returns the number of events;
 * fewer than limit: there is nothing new for now. keys has room for limit.
 */
extern int	atlas_queue_claim_batch(AtlasCursor *cursor, int limit, AtlasEventKey *keys);

/*
 * Did the pass before leave events that it must have seen, because they were
 * locked? To be asked when what it claimed has been linked.
 */
extern bool atlas_queue_left_some(AtlasCursor *cursor);

/*
 * Claims those of these events that are still in the queue and not FAILED,
 * whenever they are due. Returns how many; their keys come first then.
 */
extern int	atlas_queue_claim_again(AtlasEventKey *keys, int nkeys);

/* The same for rows of the work table that are still where they were. */
extern int	atlas_work_claim_again(AtlasEventKey *keys, int nkeys);

#endif							/* ATLAS_QUEUE_CLAIM_H */
