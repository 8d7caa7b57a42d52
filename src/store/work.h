/*
 * work.h
 *		What is still to be done about events besides linking them: rows of
 *		atlas_event_work.
 */
#ifndef ATLAS_WORK_H
#define ATLAS_WORK_H

#include "utils/uuid.h"

#include "store/rows.h"

/* What is to be done, a sum. */
#define ATLAS_WORK_DOCUMENT 1

/* Setting, see atlas_events.c. */
extern bool atlas_search;

/* What is to be done about a new event here and now: 0 if nothing is. */
extern int	atlas_work_wanted(void);

/* Rows of events; xid is of the transaction that writes them. */
extern void atlas_work_rows_init(AtlasRows *rows, int size);
extern void atlas_work_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const text *tenant,
								uint64 xid, int depth, int what);

#endif							/* ATLAS_WORK_H */
