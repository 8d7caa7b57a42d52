/*
 * queue.h
 *		Claiming events from the queue.
 */
#ifndef ATLAS_QUEUE_H
#define ATLAS_QUEUE_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/*
 * Where a linker is in the queue. Passes follow one another: each takes the
 * events of the transactions that were not finished when the pass before began.
 * A sweep is a pass over the whole queue.
 *
 * All zero but for the context is a cursor that begins with a sweep.
 */
typedef struct AtlasCursor
{
	MemoryContext context;		/* lives as long as the cursor */
	bool		in_pass;
	bool		sweep_next;		/* the next pass is a sweep, asked for by the caller */

	/* The pass: transactions one by one, then all from first_xid to last_xid. */
	uint64		first_xid;
	uint64		last_xid;
	uint64	   *unfinished;		/* at the start of the pass before */
	int			nunfinished;
	int			current;		/* in unfinished; nunfinished: the range */
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
 * Claims up to limit events that are due at once, and locks their rows in the
 * queue. Fewer than limit: the pass is over. ids has room for limit.
 */
extern int	atlas_queue_claim(AtlasCursor *cursor, int limit, pg_uuid_t *ids);

/*
 * Did the pass before leave events that it must have seen, because they were
 * locked? To be asked when what it claimed has been linked.
 */
extern bool atlas_queue_left_some(AtlasCursor *cursor);

/* Claims up to limit events whose time for another attempt has come. */
extern int	atlas_queue_claim_due(int limit, pg_uuid_t *ids);

/*
 * Claims those of these events that are still in the queue and not FAILED,
 * whenever they are due. Returns how many; their ids come first then.
 */
extern int	atlas_queue_claim_again(pg_uuid_t *ids, int nids);

/*
 * Of these events, those whose transaction is visible already but has not ended: what
 * it did to the catalogs may not be known to other sessions. Returns how many; their
 * ids are sorted.
 */
extern int	atlas_queue_ending(const pg_uuid_t *ids, int nids, pg_uuid_t *ending);

/* Is there anything that is due, an event or an unresolved reference? */
extern bool atlas_queue_has_work(void);

/*
 * When the next event or unresolved reference is to be tried again;
 * DT_NOEND when none is.
 */
extern TimestampTz atlas_queue_next_due(void);

#endif							/* ATLAS_QUEUE_H */
