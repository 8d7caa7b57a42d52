/*
 * lookup_statement.h
 *		Looking objects up by a statement, where a superuser has vouched for it.
 */
#ifndef ATLAS_LOOKUP_STATEMENT_H
#define ATLAS_LOOKUP_STATEMENT_H

#include "objects/object_type.h"

/*
 * Finds what is wanted, in one statement that runs as the owner of the type's relation.
 * The type has been connected in this transaction. A label is read only of a single object
 * that is wanted by its own id. Returns NULL, or why nothing was run.
 */
extern const char *atlas_search_by_statement(AtlasObjectType *type, const AtlasWanted *wanted,
											 int nwanted, AtlasFound found, void *searcher);

/* Drops the plans of a type. One that is running is freed after the transaction has ended. */
extern void atlas_forget_plans(AtlasObjectType *type);

#endif							/* ATLAS_LOOKUP_STATEMENT_H */
