/*
 * retry.h
 *		Which errors may pass, and how long to wait before the next attempt.
 */
#ifndef ATLAS_RETRY_H
#define ATLAS_RETRY_H

#include "datatype/timestamp.h"

/* Did somebody else's lock stand in the way, or was there a deadlock? */
extern bool atlas_is_lock_conflict(const ErrorData *error);

/* Was there too little memory or disk space, or is a partition being detached? */
extern bool atlas_is_shortage(const ErrorData *error);

/* Was the statement canceled? */
extern bool atlas_is_cancel(const ErrorData *error);

/* Is it one of the errors that no item of the batch has caused? */
extern bool atlas_stops_batch(const ErrorData *error);

/*
 * The time of the next attempt: first_seconds from now, doubled with each attempt up to
 * max_seconds, and spread by a quarter.
 */
extern TimestampTz atlas_backoff(TimestampTz now, int first_seconds, int attempts,
								 int max_seconds);

#endif							/* ATLAS_RETRY_H */
