/*
 * link_rows.h
 *		Rows of atlas_event_links.
 */
#ifndef ATLAS_LINK_ROWS_H
#define ATLAS_LINK_ROWS_H

#include "link/events_to_link.h"
#include "store/rows.h"

/*
 * Rows for links that were found one by one, with room for size. atlas_rows_insert()
 * skips those that are there.
 */
extern void atlas_link_rows_init(AtlasRows *rows, int size);
extern void atlas_link_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const AtlasRef *ref,
								TimestampTz now);

/*
 * Writes the links of the events of which no reference was deferred. A link that is
 * there already is an error, unless may_exist says that it is to be skipped.
 */
extern void atlas_write_links(const AtlasLinkEvent *events, int nevents, bool may_exist,
							  TimestampTz now);

#endif							/* ATLAS_LINK_ROWS_H */
