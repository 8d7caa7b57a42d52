/*
 * link_batch.h
 *		Linking: the related objects of queued events are looked up, links are
 *		written, and the events leave the queue.
 */
#ifndef ATLAS_LINK_BATCH_H
#define ATLAS_LINK_BATCH_H

#include "link/references.h"
#include "store/queue.h"
#include "store/rows.h"

/* Settings, see atlas_events.c. */
extern int	atlas_max_attempts;
extern int	atlas_relink_window;	/* seconds */

typedef struct AtlasLinkCounts
{
	uint64		linked;			/* events that left the queue */
	uint64		not_found;		/* references recorded as unresolved */
} AtlasLinkCounts;

/*
 * All of these run inside SPI_connect(), as the owner of the extension, in a
 * transaction of the caller's.
 */

/* link_batch.c */

/* Links events that have been claimed, and counts. */
extern void atlas_link(const pg_uuid_t *ids, int nids, AtlasLinkCounts *counts);

/*
 * Claims and links one batch, of what is new and what is due again. Returns the
 * number of events claimed; fewer than limit: there is nothing new for now.
 */
extern int	atlas_link_batch(AtlasCursor *cursor, int limit, AtlasLinkCounts *counts);

/* Claims one batch, as above; ids has room for limit. */
extern int	atlas_claim_batch(AtlasCursor *cursor, int limit, pg_uuid_t *ids);

/*
 * Reads events by their ids, which are sorted; SPI_tuptable has event_id,
 * tenant_id, object_type, object_id, related_objects and received_at.
 */
extern int	atlas_select_events(const pg_uuid_t *ids, int nids);

/* link_rows.c */

/*
 * Records an attempt at one event that failed, or one that is about to be made and
 * may kill the linker. FAILED is who has made max_attempts.
 */
extern void atlas_link_failed(const pg_uuid_t *id, bool is_made, const char *message);

/* Rows for atlas_event_links, with room for size; atlas_rows_insert() skips those that are there. */
extern void atlas_link_rows_init(AtlasRows *rows, int size);
extern void atlas_link_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const AtlasRef *ref,
								TimestampTz now);

/* unresolved.c */

/*
 * Looks up again a batch of unresolved references that are due. Returns how
 * many were due; fewer than limit: there are no more for now.
 */
extern int	atlas_relink_batch(int limit);

/* The events of the next batch of those, sorted, some of them repeated. */
extern int	atlas_relink_events(int limit, pg_uuid_t *ids);

/*
 * Gives up the unresolved references of an event that are to be looked up again,
 * and returns whether there are any. The other call looks up once more those
 * that were given up for this reason.
 */
extern bool atlas_relink_give_up(const pg_uuid_t *id, const char *reason);
extern void atlas_relink_given_up(const pg_uuid_t *id, const char *reason);

/* When a reference that was looked up so many times is looked up again. */
extern TimestampTz atlas_relink_time(TimestampTz now, int attempts);

#endif							/* ATLAS_LINK_BATCH_H */
