/*
 * discovery.h
 *		Finding the tables that are named after the built-in types.
 */
#ifndef ATLAS_DISCOVERY_H
#define ATLAS_DISCOVERY_H

#include "objects/registration.h"

/* A table that looks like that of an object type. */
typedef struct AtlasDiscovery
{
	AtlasRegistration registration;
	bool		is_registered;	/* by this call, since there was no doubt */
} AtlasDiscovery;

/*
 * Looks for tables of the caller in a schema, or in all of them if it is InvalidOid.
 * Registers those about which there is no doubt. Returns a list of AtlasDiscovery.
 */
extern List *atlas_discover(Oid schema);

#endif							/* ATLAS_DISCOVERY_H */
