/*
 * lookup.h
 *		Looking objects up in the tables that their types are connected to.
 */
#ifndef ATLAS_LOOKUP_H
#define ATLAS_LOOKUP_H

#include "event/error.h"
#include "objects/object_type.h"

typedef enum AtlasLookupResult
{
	ATLAS_FOUND,
	ATLAS_NOT_FOUND,
	ATLAS_AMBIGUOUS,			/* the id names more than one row */
	ATLAS_DIFFERENT,			/* objectId and externalId name two objects */
	ATLAS_UNAVAILABLE			/* the type is not connected, or broken */
} AtlasLookupResult;

/* One object to look up. */
typedef struct AtlasLookup
{
	const text *tenant;
	const text *object_id;		/* NULL when not given */
	const text *external_id;	/* likewise */

	AtlasLookupResult result;
	text	   *found_id;		/* the row's own id and external id, as text */
	text	   *found_external_id;	/* NULL when it has none */
	text	   *found_label;	/* set by atlas_lookup_with_label() only */
} AtlasLookup;

/*
 * Locks the type's table and makes sure that what is known of it still holds. With
 * nowait, returns false if the lock cannot be had at once.
 */
extern bool atlas_connect(AtlasObjectType *type, bool nowait);

/*
 * Looks up one object, or many, inside SPI_connect(). The type must have been connected
 * in this transaction.
 */
extern void atlas_lookup_one(AtlasObjectType *type, AtlasLookup *lookup);
extern void atlas_lookup_many(AtlasObjectType *type, AtlasLookup *lookups, int nlookups);

/*
 * Looks up one object and its label, which is NULL if the type has no label column or the
 * owner of the table may not read it.
 */
extern void atlas_lookup_with_label(AtlasObjectType *type, AtlasLookup *lookup);

/*
 * The id of an object in the form in which our tables have it: a uuid is in lower case.
 * Locks the type's table.
 */
extern text *atlas_stored_id(AtlasObjectType *type, text *given);

/* Refuses an event if its primary object was not found, or is ambiguous. */
extern void atlas_refuse_lookup(const AtlasObjectType *type, const AtlasLookup *lookup,
								AtlasError *error);

/* Why a related object was not linked, in words for people. */
extern const char *atlas_lookup_reason(const AtlasObjectType *type, const AtlasLookup *lookup);

#endif							/* ATLAS_LOOKUP_H */
