/*
 * registry.h
 *		Object types: their names, and the tables that they are connected to.
 */
#ifndef ATLAS_REGISTRY_H
#define ATLAS_REGISTRY_H

#include "event/event.h"
#include "objects/object_type.h"

/* Watches for changes of what is known of the types; from _PG_init(). */
extern void atlas_object_type_init(void);

/*
 * Finds a type by its folded name or alias. Returns NULL if it is unknown. The result is
 * good until the next call, which may read the registry again.
 */
extern AtlasObjectType *atlas_object_type(const char *folded_name);

/* All types, of AtlasObjectType, built-in or registered. They are good until the next call, too. */
extern List *atlas_object_types(void);

/* Makes the type of a reference canonical. Returns false, and changes nothing, if it is unknown. */
extern bool atlas_make_type_canonical(AtlasReference *reference);

/* A type that needs no registration to be known. Nothing else lists them. */
typedef struct AtlasBuiltInType
{
	const char *name;
	const char *aliases[3];		/* as people write them, not folded */
	const char *tables[6];		/* names under which discovery looks for its table */
} AtlasBuiltInType;

extern const AtlasBuiltInType atlas_built_in_types[];
extern const int atlas_built_in_type_count;

/* The built-in type with this folded name or alias, or NULL. */
extern const AtlasBuiltInType *atlas_built_in_type(const char *folded_name);

#endif							/* ATLAS_REGISTRY_H */
