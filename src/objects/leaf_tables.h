/*
 * leaf_tables.h
 *		How the rows of a relation can be read without a statement, and the
 *		tables that they are in.
 */
#ifndef ATLAS_LEAF_TABLES_H
#define ATLAS_LEAF_TABLES_H

#include "nodes/pg_list.h"

#include "objects/leaf_search.h"

/* More of them are not searched for one object, if there is a choice. */
#define ATLAS_MAX_LEAVES 64

/* How objects are looked up. */
typedef enum AtlasWay
{
	ATLAS_NO_WAY,				/* not at all: it is said why */
	ATLAS_BY_LEAF,				/* an ordinary table or a materialized view */
	ATLAS_BY_LEAVES,			/* partitions, or a table and its children */
	ATLAS_BY_STATEMENT			/* as the owner, if a superuser vouches for it */
} AtlasWay;

/*
 * How can a relation, which is locked, be read without a statement? ATLAS_BY_LEAF,
 * ATLAS_BY_LEAVES, or ATLAS_NO_WAY and the reason, "it is a view".
 */
extern AtlasWay atlas_direct_way(Oid relation, const AtlasColumns *columns, const char **reason);

/*
 * Locks and returns the leaves that can have the object: all, or those that the id and
 * the tenant lead to if the table is partitioned by them. Sets *problem when one of
 * them cannot be read without a statement.
 */
extern List *atlas_leaves_of(Oid relation, const AtlasColumnNames *names,
							 const AtlasWanted *wanted, const char **problem);

/* The most leaves that are searched for one object by this key. */
extern int	atlas_count_leaves(Oid relation, const AtlasColumnNames *names, bool by_external_id);

#endif							/* ATLAS_LEAF_TABLES_H */
