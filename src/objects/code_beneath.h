/*
 * code_beneath.h
 *		Whose code runs when a relation is read by a statement.
 */
#ifndef ATLAS_CODE_BENEATH_H
#define ATLAS_CODE_BENEATH_H

#include "nodes/pg_list.h"

/* The objects on which the answer below depends. */
typedef struct AtlasBeneath
{
	List	   *relations;		/* OIDs, of indexes too */
	List	   *hashes;			/* in catalog caches: of all other objects and of their owners */
} AtlasBeneath;

/*
 * Looks through everything that a statement on the relation may plan or run: the
 * relations beneath it, through views, partitions, policies and rules, which it locks;
 * and the functions, operators, types, collations and servers that these name. All
 * must belong to the owner or to a superuser. Returns NULL if they do, else a description
 * of the first one that does not: "function f(integer) belongs to role x".
 */
extern const char *atlas_foreign_code_beneath(Oid relation, Oid owner, AtlasBeneath *beneath);

#endif							/* ATLAS_CODE_BENEATH_H */
