/*
 * link_batch.h
 *		Linking: the related objects of queued events are looked up, links are
 *		written, and the events leave the queue.
 */
#ifndef ATLAS_LINK_BATCH_H
#define ATLAS_LINK_BATCH_H

#include "store/queue_claim.h"

/* Setting, see atlas_events.c. */
extern int	atlas_batch_size;

typedef struct AtlasLinkCounts
{
	uint64		linked;			/* events that left the queue */
	uint64		not_found;		/* references recorded as unresolved */
} AtlasLinkCounts;

/*
 * Links events that have been claimed, and counts. Inside SPI_connect(), as the owner
 * of the extension, in a transaction of the caller's.
 */
extern void atlas_link(const AtlasEventKey *keys, int nkeys, AtlasLinkCounts *counts);

/*
 * Claims and links one batch, of what is new and what is due again. Returns the
 * number of events claimed; fewer than limit: there is nothing new for now.
 */
extern int	atlas_link_batch(AtlasCursor *cursor, int limit, AtlasLinkCounts *counts);

#endif							/* ATLAS_LINK_BATCH_H */
