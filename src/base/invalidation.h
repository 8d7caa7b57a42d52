/*
 * invalidation.h
 *		Hearing of changes of tables and of the catalog.
 */
#ifndef ATLAS_INVALIDATION_H
#define ATLAS_INVALIDATION_H

#include "c.h"

/*
 * Called when a relation has changed in whatever way, with its OID, or with InvalidOid
 * when any of them may have. It must not read a catalog or raise an error.
 */
typedef void (*AtlasRelationListener) (Oid relid);

/* Called likewise for an entry of a catalog cache; the hash 0 stands for all entries. */
typedef void (*AtlasCatalogListener) (uint32 hash);

/* Both are for _PG_init(). cache is one of SysCacheIdentifier. */
extern void atlas_listen_to_relations(AtlasRelationListener listener);
extern void atlas_listen_to_catalog(int cache, AtlasCatalogListener listener);

#endif							/* ATLAS_INVALIDATION_H */
