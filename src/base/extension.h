/*
 * extension.h
 *		Where the extension lives in this database, and whose it is.
 */
#ifndef ATLAS_EXTENSION_H
#define ATLAS_EXTENSION_H

#include "base/tables.h"

#define ATLAS_EXTENSION_NAME "atlas_events"

typedef struct AtlasExtension
{
	Oid			oid;
	Oid			schema;
	Oid			owner;
	char		schema_name[NAMEDATALEN * 2 + 3];	/* quoted */
	Oid			relations[ATLAS_NTABLES];
} AtlasExtension;

extern void atlas_extension_init(void);

/* The extension, or NULL when this database does not have it. */
extern const AtlasExtension *atlas_extension_if_any(void);

/*
 * Locks the extension until the end of the transaction, so that DROP EXTENSION waits for that
 * instead of meeting it halfway. Returns false when this database does not have it.
 */
extern bool atlas_extension_lock(void);

/* The extension; raises an error when there is none. */
extern const AtlasExtension *atlas_extension(void);

/* The OID of one of our tables. */
static inline Oid
atlas_relation(AtlasTableId table)
{
	return atlas_extension()->relations[table];
}

/* A number that changes whenever what is said above has changed. */
extern uint64 atlas_extension_generation(void);

#endif							/* ATLAS_EXTENSION_H */
