/*
 * tables.h
 *		The extension's own tables, and what every part that deals with all of
 *		them has to know of each.
 */
#ifndef ATLAS_TABLES_H
#define ATLAS_TABLES_H

#include "c.h"

typedef enum AtlasTableId
{
	ATLAS_EVENTS,
	ATLAS_EVENT_QUEUE,
	ATLAS_EVENT_LINKS,
	ATLAS_EVENT_UNRESOLVED,
	ATLAS_EVENT_KEYS,
	ATLAS_OBJECT_TYPES,
	ATLAS_REJECTIONS,
	ATLAS_EVENT_WORK,
	ATLAS_EVENT_SEARCH,
	ATLAS_SEARCH_GAPS,
	ATLAS_SEARCH_REBUILD,
	ATLAS_RULES,
	ATLAS_RULE_HITS,
	ATLAS_RULE_MATCHES,
	ATLAS_RULE_ACTIONS,
	ATLAS_RULE_COOLDOWNS,
	ATLAS_LINKER_STATE
} AtlasTableId;

#define ATLAS_NTABLES (ATLAS_LINKER_STATE + 1)

typedef struct AtlasTableFacts
{
	const char *name;			/* in the schema of the extension */
	const char *tenant_column;	/* NULL: its rows belong to no tenant */
	bool		is_partitioned; /* by event id */
	bool		is_dumped;		/* pg_dump takes its rows */
	bool		is_published;	/* a subscriber has a use for its rows */

	/* The columns that find the rows about an object that is erased; NULL: there are none. */
	const char *erased_by;

	/* The column that says on which node of a cluster a row is; NULL: each node has its own table. */
	const char *distributed_by;
} AtlasTableFacts;

/* By AtlasTableId. */
extern const AtlasTableFacts atlas_tables[ATLAS_NTABLES];

#endif							/* ATLAS_TABLES_H */
