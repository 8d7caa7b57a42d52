/*
 * retry.h
 *		Which errors may pass, and how long to wait before the next attempt.
 */
#ifndef ATLAS_RETRY_H
#define ATLAS_RETRY_H

#include "datatype/timestamp.h"

/* Is it somebody's lock, or a deadlock? */
extern bool atlas_is_lock_conflict(const ErrorData *error);

/* Is it too little memory or disk, or a partition that is being detached? */
extern bool atlas_is_shortage(const ErrorData *error);

/* Is it a cancel? */
extern bool atlas_is_cancel(const ErrorData *error);

/* Is it one of those in which the items have no part? */
extern bool atlas_stops_batch(const ErrorData *error);

/* Seconds, doubled with each attempt up to a limit, and spread by a quarter. */
extern TimestampTz atlas_backoff(TimestampTz now, int first_seconds, int attempts,
								 int max_seconds);

#endif							/* ATLAS_RETRY_H */
