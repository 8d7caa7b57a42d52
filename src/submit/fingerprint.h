/*
 * fingerprint.h
 *		What "the same event" is to an idempotency key.
 */
#ifndef ATLAS_FINGERPRINT_H
#define ATLAS_FINGERPRINT_H

#include "event/event.h"

/*
 * SHA-256 of all that was submitted. The type of the primary object is canonical, those
 * of related objects are as they were submitted.
 */
extern bytea *atlas_fingerprint(const AtlasEvent *event);

#endif							/* ATLAS_FINGERPRINT_H */
