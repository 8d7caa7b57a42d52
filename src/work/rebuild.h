/*
 * rebuild.h
 *		Making documents anew: atlas_rebuild_search().
 */
#ifndef ATLAS_REBUILD_H
#define ATLAS_REBUILD_H

#include "datatype/timestamp.h"

/*
 * Asks for it, for events that occurred since then, or for all if it is -infinity. As the
 * owner of the extension, inside SPI_connect(), like the other calls.
 */
extern void atlas_rebuild_request(TimestampTz since);

/* Is there one to begin or to go on with? */
extern bool atlas_rebuild_is_due(void);

/*
 * Goes on with it: writes rows of the work table for up to so many events. To be called when
 * there is nothing else to do, or there would be ever more rows. Returns false if there is nothing to go on with now.
 */
extern bool atlas_rebuild_step(int limit);

#endif							/* ATLAS_REBUILD_H */
