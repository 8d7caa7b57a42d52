/*
 * log.h
 *		The columns of the log, atlas_events.
 */
#ifndef ATLAS_LOG_H
#define ATLAS_LOG_H

#include "store/rows.h"

typedef enum AtlasLogColumn
{
	ATLAS_LOG_EVENT_ID,
	ATLAS_LOG_OCCURRED_AT,
	ATLAS_LOG_RECEIVED_AT,
	ATLAS_LOG_TENANT_ID,
	ATLAS_LOG_OBJECT_TYPE,
	ATLAS_LOG_OBJECT_ID,
	ATLAS_LOG_EXTERNAL_ID,
	ATLAS_LOG_NAME,
	ATLAS_LOG_DESCRIPTION,
	ATLAS_LOG_ICON,
	ATLAS_LOG_PAYLOAD,
	ATLAS_LOG_RELATED_OBJECTS
} AtlasLogColumn;

/* For atlas_rows_init(). */
extern AtlasTable atlas_log_table;

#endif							/* ATLAS_LOG_H */
