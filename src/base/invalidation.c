/*
 * invalidation.c
 *		Hearing of changes of tables and of the catalog.
 *
 * PostgreSQL has room for ten callbacks of the relation cache in a process, and for 64
 * of the catalog caches, for all extensions together; when there is no room left it
 * raises a FATAL error. So the whole library registers one for the relations, and one for
 * each catalog cache, and passes on what they are told.
 */
#include "postgres.h"

#include "utils/inval.h"

#include "base/invalidation.h"

#define MAX_LISTENERS 8

typedef struct CatalogListener
{
	int			cache;
	AtlasCatalogListener listener;
} CatalogListener;

static AtlasRelationListener relation_listeners[MAX_LISTENERS];
static int	nrelation_listeners = 0;
static CatalogListener catalog_listeners[MAX_LISTENERS];
static int	ncatalog_listeners = 0;

/* Called by the relation cache. */
static void
tell_of_relation(Datum arg, Oid relid)
{
	for (int i = 0; i < nrelation_listeners; i++)
		relation_listeners[i] (relid);
}

/* Called by the catalog caches. */
static void
tell_of_catalog(Datum arg, int cache, uint32 hash)
{
	for (int i = 0; i < ncatalog_listeners; i++)
		if (catalog_listeners[i].cache == cache)
			catalog_listeners[i].listener(hash);
}

void
atlas_listen_to_relations(AtlasRelationListener listener)
{
	Assert(nrelation_listeners < MAX_LISTENERS);
	if (nrelation_listeners == 0)
		CacheRegisterRelcacheCallback(tell_of_relation, (Datum) 0);
	relation_listeners[nrelation_listeners++] = listener;
}

void
atlas_listen_to_catalog(int cache, AtlasCatalogListener listener)
{
	bool		is_registered = false;

	Assert(ncatalog_listeners < MAX_LISTENERS);
	for (int i = 0; i < ncatalog_listeners; i++)
		is_registered |= catalog_listeners[i].cache == cache;
	if (!is_registered)
		CacheRegisterSyscacheCallback(cache, tell_of_catalog, (Datum) 0);
	catalog_listeners[ncatalog_listeners].cache = cache;
	catalog_listeners[ncatalog_listeners++].listener = listener;
}
