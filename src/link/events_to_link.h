/*
 * events_to_link.h
 *		Reading events from the log, to link them.
 */
#ifndef ATLAS_EVENTS_TO_LINK_H
#define ATLAS_EVENTS_TO_LINK_H

#include "link/references.h"
#include "store/event_keys.h"
#include "store/missing.h"

/* An event to be linked. */
typedef struct AtlasLinkEvent
{
	AtlasEventKey key;
	char	   *object_type;	/* the primary object */
	text	   *object_id;
	TimestampTz received_at;
	AtlasRef   *refs;
	int			nrefs;
} AtlasLinkEvent;

/*
 * Reads events by their keys, which are sorted, and lists those that are missing. The
 * result is sorted by key, and has *nevents events. Inside SPI_connect(), as the owner
 * of the extension.
 */
extern AtlasLinkEvent *atlas_read_events_to_link(const AtlasEventKey *keys, int nkeys, int *nevents,
												 AtlasMissing *missing);

/*
 * Selects events by their keys, which are sorted, and returns how many there are;
 * SPI_tuptable has event_id, tenant_id, object_type, object_id, related_objects and
 * received_at.
 */
extern int	atlas_select_events(const AtlasEventKey *keys, int nkeys);

/* The number of references that the events have together. */
extern int	atlas_count_references(const AtlasLinkEvent *events, int nevents);

#endif							/* ATLAS_EVENTS_TO_LINK_H */
