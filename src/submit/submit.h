/*
 * submit.h
 *		Storing events: the primary object is looked up, the event and its
 *		place in the queue are written.
 */
#ifndef ATLAS_SUBMIT_H
#define ATLAS_SUBMIT_H

#include "utils/uuid.h"

#include "event/event.h"
#include "objects/lookup.h"

/* An event on its way into the log. */
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
 * Stores every submission that is not refused: those that are refused say why
 * in event.error, all others have their event_id. Inside SPI_connect().
 */
extern void atlas_submit(AtlasSubmission *submissions, int nsubmissions);

/* idempotency.c */

/*
 * Resolves submissions whose key is known already: to the event stored then, or
 * to a conflict when it was another event.
 */
extern void atlas_find_replays(AtlasSubmission *submissions, int nsubmissions);

/*
 * Takes the keys of the submissions that are still to be stored. One that
 * another session took meanwhile, or an earlier submission of this call,
 * resolves its submission as above.
 */
extern void atlas_claim_keys(AtlasSubmission *submissions, int nsubmissions);

/* Is this submission still to be stored? */
static inline bool
atlas_is_open(const AtlasSubmission *submission)
{
	return submission->event.error.status == 0 && !submission->duplicate;
}

#endif							/* ATLAS_SUBMIT_H */
