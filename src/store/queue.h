/*
 * queue.h
 *		The queue, atlas_event_queue: what is added to it, found, put off and
 *		taken out.
 */
#ifndef ATLAS_QUEUE_H
#define ATLAS_QUEUE_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "base/arrays.h"
#include "store/event_keys.h"
#include "store/rows.h"

/*
 * How many rules led to the events that this session submits, one after the other: more than 0 while it
 * calls the action of a rule. The rows of these events say so.
 */
extern int	atlas_event_depth;

/* Rows for events whose related objects are to be linked; xid is of the transaction that submits them. */
extern void atlas_queue_rows_init(AtlasRows *rows, int size);
extern void atlas_queue_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const text *tenant,
								 uint64 xid);

/* An event that was found in the queue. */
typedef struct AtlasQueued
{
	AtlasEventKey key;
	uint64		submitted_xid;
	int			attempts;		/* that have failed */
	bool		is_failed;
} AtlasQueued;

/* Finds those of the events that are in the queue, sorted by key; queued has room for nkeys. */
extern int	atlas_queue_find(const AtlasEventKey *keys, int nkeys, AtlasQueued *queued);

/* Takes events that were claimed out of the queue: they are LINKED. */
extern void atlas_queue_remove(const AtlasEventKey *keys, int nkeys);

/* Events that are put off, until when, and why. */
typedef struct AtlasDeferrals
{
	AtlasColumn tenants;
	AtlasColumn ids;
	AtlasColumn times;
	AtlasColumn reasons;
} AtlasDeferrals;

extern void atlas_deferrals_init(AtlasDeferrals *deferrals, int size);
extern void atlas_deferrals_add(AtlasDeferrals *deferrals, const AtlasEventKey *key,
								TimestampTz until, const char *reason);
extern void atlas_queue_defer(const AtlasDeferrals *deferrals);

/* Notes a failed attempt, and when the next one is made; DT_NOEND: the event is FAILED. */
extern void atlas_queue_note_failure(const AtlasEventKey *key, int attempts, const char *message,
									 TimestampTz next_attempt_at);

/* Gives FAILED events new attempts, or only this one if it is not NULL; returns how many. */
extern uint64 atlas_queue_retry_failed(const pg_uuid_t *id);

/*
 * Is there anything that is due, a rule that is to begin, or a rebuild of the documents to go on with? This and the
 * next call look at events in the queue and in the work table, and at unresolved references.
 */
extern bool atlas_queue_has_work(void);

/* When the next of them is to be tried again; DT_NOEND when there is none. */
extern TimestampTz atlas_queue_next_due(void);

#endif							/* ATLAS_QUEUE_H */
