/*
 * log.h
 *		The log, atlas_events: its columns, and how events are read by their keys.
 */
#ifndef ATLAS_LOG_H
#define ATLAS_LOG_H

#include "base/statement.h"
#include "store/event_keys.h"
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

/*
 * A statement that selects columns of events by their keys, which are its parameters; e is
 * the event. The range of the ids lets the executor skip the other partitions.
 */
#define ATLAS_LOG_BY_KEYS(columns) \
	.sql = \
	"SELECT " columns \
	"  FROM " ATLAS_KEYS "," \
	"       LATERAL (SELECT * FROM @extschema@.atlas_events e" \
	"                 WHERE " ATLAS_IS_KEY("e") \
	"                   AND e.event_id OPERATOR(pg_catalog.>=) $3" \
	"                   AND e.event_id OPERATOR(pg_catalog.<=) $4 OFFSET 0) e", \
	.nparameters = ATLAS_KEYS_NPARAMETERS + 2, \
	.parameters = {ATLAS_KEYS_PARAMETERS, UUIDOID, UUIDOID}

/* Runs it for keys that are sorted; returns how many events there are, which are in SPI_tuptable. */
extern int	atlas_log_select(AtlasStatement *statement, const AtlasEventKey *keys, int nkeys);

#endif							/* ATLAS_LOG_H */
