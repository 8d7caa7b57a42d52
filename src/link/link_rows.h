/*
 * link_rows.h
 *		Events on their way out of the queue.
 */
#ifndef ATLAS_LINK_ROWS_H
#define ATLAS_LINK_ROWS_H

#include "link/link_batch.h"

/* An event to be linked. */
typedef struct AtlasLinkEvent
{
	pg_uuid_t	id;
	text	   *tenant;
	char	   *object_type;	/* the primary object */
	text	   *object_id;
	TimestampTz received_at;
	AtlasRef   *refs;
	int			nrefs;
} AtlasLinkEvent;

/* Events that are in the queue and not in the log. Both lists are sorted. */
typedef struct AtlasMissing
{
	pg_uuid_t  *ids;
	int			nids;
	pg_uuid_t  *ending;			/* those whose transaction was about to end */
	int			nending;
} AtlasMissing;

extern int	atlas_count_references(const AtlasLinkEvent *events, int nevents);

/*
 * Writes what the references of the events were resolved to, and counts. A link
 * that is there already is an error, unless links_may_exist.
 */
extern void atlas_write_events(const AtlasLinkEvent *events, int nevents, bool links_may_exist,
							   TimestampTz now, AtlasLinkCounts *counts);

/* Puts off what is not in the log: for a moment, or, as in a restore, for longer. */
extern void atlas_write_missing(const AtlasMissing *missing, TimestampTz now);

/* Puts off an event that is not to blame for anything. */
extern void atlas_put_off(const pg_uuid_t *id, const char *reason);

#endif							/* ATLAS_LINK_ROWS_H */
