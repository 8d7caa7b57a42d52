/*
 * event_tables.h
 *		The log and the links, opened for reading.
 */
#ifndef ATLAS_EVENT_TABLES_H
#define ATLAS_EVENT_TABLES_H

#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef struct AtlasEventTables
{
	Relation	log;
	Relation	links;
	Snapshot	snapshot;		/* of the caller's statement */
	bool		is_direct;		/* may they be read without a statement? */
} AtlasEventTables;

/* Locks and opens both. To be called as the owner of the extension. */
extern void atlas_event_tables_open(AtlasEventTables *tables);

/* Closes them; the locks stay until the end of the transaction. */
extern void atlas_event_tables_close(AtlasEventTables *tables);

#endif							/* ATLAS_EVENT_TABLES_H */
