/*
 * leaf_tables.h
 *		How the rows of a relation can be read without a statement, and the
 *		tables that they are in.
 */
#ifndef ATLAS_LEAF_TABLES_H
#define ATLAS_LEAF_TABLES_H

#include "nodes/pg_list.h"

#include "objects/leaf_search.h"

/* A table in which more leaves would be searched for one object cannot be registered. */
#define ATLAS_MAX_LEAVES 64

/* How objects are looked up. */
typedef enum AtlasWay
{
	ATLAS_NO_WAY,				/* not at all, for a reason that is told */
	ATLAS_BY_LEAF,				/* an ordinary table or a materialized view */
	ATLAS_BY_LEAVES,			/* partitions, or a table and its children */
	ATLAS_BY_STATEMENT			/* as the owner, if a superuser vouches for it */
} AtlasWay;

/*
 * How can a relation, which is locked, be read without a statement? Returns ATLAS_BY_LEAF,
 * ATLAS_BY_LEAVES, or ATLAS_NO_WAY and the reason, such as "it is a view".
 */
extern AtlasWay atlas_direct_way(Oid relation, const AtlasColumns *columns, const char **reason);

/*
 * Locks and returns the leaves that can have the object. These are all leaves, unless the
 * table is partitioned by the id or the tenant, which lead to some of them. Sets *problem
 * if one of them cannot be read without a statement.
 */
extern List *atlas_leaves_of(Oid relation, const AtlasColumnNames *names,
							 const AtlasWanted *wanted, const char **problem);

/* In how many leaves one object is searched by this key, at the most. */
extern int	atlas_count_leaves(Oid relation, const AtlasColumnNames *names, bool by_external_id);

#endif							/* ATLAS_LEAF_TABLES_H */
