/*
 * object_type.h
 *		Types only: an object type, and what a backend knows of the table that it
 *		is connected to. The registry makes them (registry.c); a lookup fills in what
 *		it finds out (lookup.c, lookup_statement.c).
 */
#ifndef ATLAS_OBJECT_TYPE_H
#define ATLAS_OBJECT_TYPE_H

#include "executor/spi.h"

#include "objects/code_beneath.h"
#include "objects/leaf_tables.h"

/* The state of a connection to a table. */
typedef enum AtlasConnection
{
	ATLAS_NOT_CONNECTED,		/* a built-in type without a table */
	ATLAS_BROKEN,				/* it cannot be looked up now: see problem */
	ATLAS_CONNECTED
} AtlasConnection;

/* The table as it was examined, for which the plans were made. */
typedef struct AtlasTarget
{
	char		relation_name[NAMEDATALEN * 4 + 8]; /* qualified and quoted */
	Oid			owner;
	AtlasWay	way;
	AtlasColumns columns;
} AtlasTarget;

typedef enum AtlasPlanKind
{
	ATLAS_BY_ID,				/* one object */
	ATLAS_BY_EXTERNAL_ID,
	ATLAS_BY_ID_WITH_LABEL,
	ATLAS_MANY					/* many objects, by either */
} AtlasPlanKind;

#define ATLAS_NPLANS (ATLAS_MANY + 1)

typedef struct AtlasObjectType
{
	char		name[NAMEDATALEN];	/* canonical */
	Oid			relation;		/* InvalidOid if it is not connected */
	AtlasColumnNames columns;
	NameData	vouched_owner;	/* as whom it is looked up by a statement; else empty */
	MemoryContext memory;		/* lives as long as the type, for what is known of it */

	/* What follows holds as long as checked is true, see lookup.c. */
	bool		checked;
	uint64		invalidations;	/* counted, to notice one that comes meanwhile */
	AtlasConnection connection;
	char	   *problem;		/* why it is broken */
	AtlasTarget target;
	AtlasLeaf	leaf;			/* ATLAS_BY_LEAF */
	HTAB	   *leaves;			/* ATLAS_BY_LEAVES: of AtlasLeaf, those searched so far */
	uint64		leaf_changes;	/* invalidations of any table, counted */

	/* ATLAS_BY_STATEMENT, see lookup_statement.c. */
	SPIPlanPtr	plans[ATLAS_NPLANS];
	bool		code_checked;	/* all code beneath belongs to the owner or a superuser */
	uint64		code_changes;	/* invalidations of anything that may matter, counted */
	AtlasBeneath beneath;		/* what code_checked depends on */
} AtlasObjectType;

#endif							/* ATLAS_OBJECT_TYPE_H */
