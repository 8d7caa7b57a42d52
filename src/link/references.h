/*
 * references.h
 *		Looking up the references of a batch, type by type.
 */
#ifndef ATLAS_REFERENCES_H
#define ATLAS_REFERENCES_H

#include "objects/lookup.h"

typedef enum AtlasOutcome
{
	ATLAS_LINKED,				/* found_id is the object's own id */
	ATLAS_REFERENCE_NOT_FOUND,
	ATLAS_REFERENCE_ERROR,
	ATLAS_DEFERRED				/* the table cannot be read now: try again later */
} AtlasOutcome;

/* A reference of an event to be looked up. */
typedef struct AtlasRef
{
	const char *object_type;	/* as it is stored; canonical once it is known */
	AtlasLookup lookup;			/* what to look up, and what was found */
	AtlasOutcome outcome;
	const char *reason;			/* unless linked */
	const char *problem;		/* why it can never be looked up, or NULL */
} AtlasRef;

/*
 * Looks up references that have no problem, inside SPI_connect(). An error of the table
 * of one object type affects only the references to it; any other error is raised.
 */
extern void atlas_resolve(AtlasRef **refs, int nrefs);

#endif							/* ATLAS_REFERENCES_H */
