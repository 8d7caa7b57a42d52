/*
 * search_gap.h
 *		The note that events were stored while search was not in effect, so that they
 *		have no documents.
 */
#ifndef ATLAS_SEARCH_GAP_H
#define ATLAS_SEARCH_GAP_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

extern void atlas_search_gap_init(void);

/*
 * Notes that this event, and later ones, have no documents, unless that is noted already. As the
 * owner of the extension, inside SPI_connect(), in a transaction that has an id.
 */
extern void atlas_search_gap_note(const pg_uuid_t *event_id);

/* Since when events have no documents; DT_NOEND: all have them, or will have. */
extern TimestampTz atlas_search_gap_since(void);

/* Removes what is noted of this time and later, because these documents are to be made now. */
extern void atlas_search_gap_close(TimestampTz since);

#endif							/* ATLAS_SEARCH_GAP_H */
