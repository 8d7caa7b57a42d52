/*
 * work_batch.h
 *		The second step of the linker: what is to be done about events besides linking
 *		them. It makes the documents by which they are found, and evaluates rules.
 */
#ifndef ATLAS_WORK_BATCH_H
#define ATLAS_WORK_BATCH_H

#include "store/queue_claim.h"

/*
 * The most events that are worked on in one transaction. Words that many of them have are
 * added to the index once, so a batch of this size takes a third of the time that 16 smaller
 * ones take, about 150 ms.
 */
#define ATLAS_MAX_WORK_BATCH 4000

/* Whether some rows were left, and why, a sum. */
#define ATLAS_LEFT_LOCKED 1		/* partitions of documents are locked */
#define ATLAS_LEFT_FOR_TIME 2	/* rules took long, and the rest is to be done at once */
#define ATLAS_LEFT_RULES 4		/* the rules, because somebody else writes hits: see atlas_rules_are_free() */

/*
 * Works on rows that have been claimed. Inside SPI_connect(), as the owner of the
 * extension, in a transaction of the caller's. Returns what was left.
 */
extern int	atlas_work_on(const AtlasEventKey *keys, int nkeys);

/*
 * Claims and works on one batch. The cursor is of ATLAS_TO_WORK_ON. Returns the number of
 * rows claimed; fewer than limit: there is nothing new for now. The next pass is a sweep if
 * some were left, unless it was for the rules: then the caller sees to that when they are free.
 */
extern int	atlas_work_batch(AtlasCursor *cursor, int limit, int *left);

/*
 * Records an attempt at one row that has failed, or, if it is not made yet, one that may kill
 * the linker; the key says where the row is then. Once max_attempts have been made, the document is stored empty, with
 * the reason, or the rules are not evaluated for the event, and the row goes. Returns false then.
 */
extern bool atlas_work_failed(AtlasEventKey *key, bool is_made, const char *message);

#endif							/* ATLAS_WORK_BATCH_H */
