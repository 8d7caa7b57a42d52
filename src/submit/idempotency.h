/*
 * idempotency.h
 *		Idempotency keys: a retry gets the event that was stored first.
 */
#ifndef ATLAS_IDEMPOTENCY_H
#define ATLAS_IDEMPOTENCY_H

#include "submit/submission.h"

/*
 * Resolves submissions whose key is known already: to the event stored then, or
 * to a conflict when it was another event.
 */
extern void atlas_find_replays(const AtlasOpenSubmissions *open);

/*
 * Takes the keys of the submissions that are still to be stored. One that
 * another session took meanwhile, or an earlier submission of this call,
 * resolves its submission as above.
 */
extern void atlas_claim_keys(const AtlasOpenSubmissions *open);

#endif							/* ATLAS_IDEMPOTENCY_H */
