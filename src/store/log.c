/*
 * log.c
 *		The log, atlas_events: its columns, as the install script has them, and how events are
 *		read by their keys.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/inval.h"

#include "base/statement.h"
#include "store/event_keys.h"
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

int
atlas_log_select(AtlasStatement *statement, const AtlasEventKey *keys, int nkeys)
{
	Datum		values[ATLAS_KEYS_NPARAMETERS + 2];

	/* A transaction that has locked the log already does not learn of new partitions by itself. */
	AcceptInvalidationMessages();
	atlas_event_keys_values(keys, nkeys, values);
	values[ATLAS_KEYS_NPARAMETERS] = UUIDPGetDatum(&keys[0].id);
	values[ATLAS_KEYS_NPARAMETERS + 1] = UUIDPGetDatum(&keys[nkeys - 1].id);
	return (int) atlas_execute(statement, values, NULL, false, 0);
}
