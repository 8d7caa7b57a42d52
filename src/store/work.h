/*
 * work.h
 *		What is still to be done about events besides linking them: rows of
 *		atlas_event_work.
 */
#ifndef ATLAS_WORK_H
#define ATLAS_WORK_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "store/event_keys.h"
#include "store/rows.h"

/* What is to be done, a sum. */
#define ATLAS_WORK_DOCUMENT 1
#define ATLAS_WORK_REPLACE 2	/* the document takes the place of the one that is there */
#define ATLAS_WORK_RULES 4		/* evaluate the rules */

/* Setting, see atlas_events.c. */
extern bool atlas_search;

/* Are documents made of new events here and now? */
extern bool atlas_search_is_in_effect(void);

/* Rows of events; xid is of the transaction that writes them. */
extern void atlas_work_rows_init(AtlasRows *rows, int size);
extern void atlas_work_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const text *tenant,
								uint64 xid, int depth, int what);

/* New events about which work is to be done, or would be if search were in effect or there were rules. */
typedef struct AtlasNewWork
{
	int			what;
	uint64		xid;
	AtlasRows	rows;			/* unless what is 0 */
	const pg_uuid_t *first;		/* of the events; NULL: there are none */
} AtlasNewWork;

/*
 * Writes the rows of new events, or, if search is not in effect, notes that these have no
 * documents. The events are added in the order of their ids. The last call returns the number of rows.
 */
extern void atlas_new_work_begin(AtlasNewWork *work, int size);
extern void atlas_new_work_add(AtlasNewWork *work, const pg_uuid_t *event_id, const text *tenant, int depth);
extern int	atlas_new_work_write(AtlasNewWork *work);

/* Has the rules evaluated for events that are linked to more objects now, sorted by key, unless there are none. */
extern void atlas_work_add_late(const AtlasEventKey *keys, int nkeys);

/* Removes rows that were claimed. */
extern void atlas_work_remove(const AtlasEventKey *keys, int nkeys);

/* Leaves nothing to be done in rows that were claimed but to evaluate the rules, as if they were new. */
extern void atlas_work_leave_rules(const AtlasEventKey *keys, int nkeys);

/* Leaves only a part of what is to be done in a row that was claimed, which is due at once. */
extern void atlas_work_reduce(AtlasEventKey *key, int what);

/*
 * Has a row that was claimed tried again at that time, and notes why, and how many attempts
 * have failed. The key says these things then, and where the row is now.
 */
extern void atlas_work_postpone(AtlasEventKey *key, int attempts, const char *reason, TimestampTz until);

#endif							/* ATLAS_WORK_H */
