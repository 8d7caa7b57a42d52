/*
 * log.c
 *		The columns of the log, atlas_events, as the install script has them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "store/log.h"
#include "store/rows.h"

AtlasTable	atlas_log_table = {
	.id = ATLAS_EVENTS,
	.ncolumns = ATLAS_LOG_RELATED_OBJECTS + 1,
	.columns = {
		[ATLAS_LOG_EVENT_ID] = {"event_id", UUIDOID},
		[ATLAS_LOG_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID},
		[ATLAS_LOG_RECEIVED_AT] = {"received_at", TIMESTAMPTZOID},
		[ATLAS_LOG_TENANT_ID] = {"tenant_id", TEXTOID},
		[ATLAS_LOG_OBJECT_TYPE] = {"object_type", TEXTOID},
		[ATLAS_LOG_OBJECT_ID] = {"object_id", TEXTOID},
		[ATLAS_LOG_EXTERNAL_ID] = {"external_id", TEXTOID},
		[ATLAS_LOG_NAME] = {"name", TEXTOID},
		[ATLAS_LOG_DESCRIPTION] = {"description", TEXTOID},
		[ATLAS_LOG_ICON] = {"icon", TEXTOID},
		[ATLAS_LOG_PAYLOAD] = {"payload", JSONBOID},
		[ATLAS_LOG_RELATED_OBJECTS] = {"related_objects", JSONBOID},
	},
};
