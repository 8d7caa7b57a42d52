/*
 * event_tables.c
 *		The log and the links, opened for reading.
 *
 * They are read without a statement unless atlas_events.direct_access is off or a policy
 * concerns the owner of the extension. Who reads them goes on by a statement where a
 * partition turns out to be unreadable by an index.
 */
#include "postgres.h"

#include "access/table.h"
#include "read/event_tables.h"
#include "read/index_reader.h"
#include "utils/snapmgr.h"

#include "store/rows.h"

void
atlas_event_tables_open(AtlasEventTables *tables)
{
	tables->log = atlas_open_for_reading(ATLAS_EVENTS);
	tables->links = atlas_open_for_reading(ATLAS_EVENT_LINKS);
	tables->snapshot = GetActiveSnapshot();
	tables->is_direct = atlas_direct_access && atlas_may_use_directly(tables->log, ACL_SELECT) &&
		atlas_may_use_directly(tables->links, ACL_SELECT);
}

void
atlas_event_tables_close(AtlasEventTables *tables)
{
	table_close(tables->links, NoLock);
	table_close(tables->log, NoLock);
}
