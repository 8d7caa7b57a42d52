/*
 * queue.h
 *		The queue, atlas_event_queue: what is added to it, claimed, put off and
 *		taken out.
 */
#ifndef ATLAS_QUEUE_H
#define ATLAS_QUEUE_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "base/arrays.h"
#include "store/rows.h"

/* Rows for events whose related objects are to be linked; xid is of the transaction that submits them. */
extern void atlas_queue_rows_init(AtlasRows *rows, int size);
extern void atlas_queue_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const text *tenant,
								 uint64 xid);

/* An event that was found in the queue. */
typedef struct AtlasQueued
{
	pg_uuid_t	event_id;
	uint64		submitted_xid;
	int			attempts;		/* that have failed */
	bool		is_failed;
} AtlasQueued;

/* Finds those of the events that are in the queue, sorted by id; queued has room for nids. */
extern int	atlas_queue_find(const pg_uuid_t *ids, int nids, AtlasQueued *queued);

/*
 * Where a linker is in the queue. Passes follow one another: each takes the
 * events of the transactions that were not finished when the pass before began.
 * A sweep is a pass over the whole queue.
 *
 * A cursor that is all zero, except for the context, begins with a sweep.
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
 * fewer than limit: there is nothing new for now. ids has room for limit.
 */
extern int	atlas_queue_claim_batch(AtlasCursor *cursor, int limit, pg_uuid_t *ids);

/*
 * Did the pass before leave events that it must have seen, because they were
 * locked? To be asked when what it claimed has been linked.
 */
extern bool atlas_queue_left_some(AtlasCursor *cursor);

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

/* Takes events out of the queue: they are LINKED. */
extern void atlas_queue_remove(const AtlasColumn *ids);

/* Events that are put off, until when, and why. */
typedef struct AtlasDeferrals
{
	AtlasColumn ids;
	AtlasColumn times;
	AtlasColumn reasons;
} AtlasDeferrals;

extern void atlas_deferrals_init(AtlasDeferrals *deferrals, int size);
extern void atlas_deferrals_add(AtlasDeferrals *deferrals, const pg_uuid_t *id, TimestampTz until,
								const char *reason);
extern void atlas_queue_defer(const AtlasDeferrals *deferrals);

/* Notes a failed attempt, and when the next one is made; DT_NOEND: the event is FAILED. */
extern void atlas_queue_note_failure(const pg_uuid_t *id, int attempts, const char *message,
									 TimestampTz next_attempt_at);

/* Gives FAILED events new attempts, or only this one if it is not NULL; returns how many. */
extern uint64 atlas_queue_retry_failed(const pg_uuid_t *id);

/* Is there anything that is due, an event or an unresolved reference? */
extern bool atlas_queue_has_work(void);

/*
 * When the next event or unresolved reference is to be tried again;
 * DT_NOEND when there is none.
 */
extern TimestampTz atlas_queue_next_due(void);

#endif							/* ATLAS_QUEUE_H */
