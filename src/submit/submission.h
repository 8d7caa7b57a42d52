/*
 * submission.h
 *		An event on its way into the log.
 */
#ifndef ATLAS_SUBMISSION_H
#define ATLAS_SUBMISSION_H

#include "utils/uuid.h"

#include "event/event.h"
#include "objects/lookup.h"

typedef struct AtlasSubmission
{
	AtlasEvent	event;
	AtlasLookup primary;		/* as it was found */
	bytea	   *hash;			/* only with an idempotency key */
	pg_uuid_t	event_id;
	bool		key_resolved;	/* its key is known to be in the table */
	bool		duplicate;		/* stored before, under the same key */
	const char *processing_status;
} AtlasSubmission;

/*
 * The submissions of a call that are still to be stored. Each phase closes some of them:
 * it refuses them, or finds that they were stored before; they leave the list then.
 */
typedef struct AtlasOpenSubmissions
{
	AtlasSubmission **items;
	int			nitems;
} AtlasOpenSubmissions;

#endif							/* ATLAS_SUBMISSION_H */
