/*
 * object_matches.h
 *		The events of one object whose documents match a query, newest first.
 */
#ifndef ATLAS_OBJECT_MATCHES_H
#define ATLAS_OBJECT_MATCHES_H

#include "read/object_events.h"
#include "search/matches.h"

typedef struct AtlasObjectMatches AtlasObjectMatches;

/*
 * Begins to walk along the timeline of the object: events of which it is the primary object, or a
 * related one. Otherwise as atlas_matches_begin() and its like.
 */
extern AtlasObjectMatches *atlas_object_matches_begin(const AtlasMatchesScope *scope,
													  const AtlasTimelineObject *object,
													  AtlasBudget *budget, Snapshot snapshot);
extern bool atlas_object_matches_next(AtlasObjectMatches *matches, pg_uuid_t *event_id);
extern const pg_uuid_t *atlas_object_matches_searched_until(const AtlasObjectMatches *matches);
extern void atlas_object_matches_end(AtlasObjectMatches *matches);

#endif							/* ATLAS_OBJECT_MATCHES_H */
