/*
 * rule_lock.h
 *		Who may evaluate rules at the same time.
 */
#ifndef ATLAS_RULE_LOCK_H
#define ATLAS_RULE_LOCK_H

#include "storage/lockdefs.h"

/* Evaluating rules, beside others. */
#define ATLAS_EVALUATE_RULES RowExclusiveLock

/* Writing hits and looking at what is a match then, which only one may do: it must see all others. */
#define ATLAS_WRITE_HITS ShareUpdateExclusiveLock

/* Having rules begin, while nobody evaluates any. */
#define ATLAS_BEGIN_RULES ShareRowExclusiveLock

/*
 * Takes the lock until the end of the transaction, without waiting. Returns false if somebody else
 * is in the way. What he has committed is visible to a snapshot that is taken afterwards.
 */
extern bool atlas_lock_rules(LOCKMODE mode);

/* Can hits be written now? Then it is up to this transaction to do so. */
static inline bool
atlas_rules_are_free(void)
{
	return atlas_lock_rules(ATLAS_WRITE_HITS);
}

#endif							/* ATLAS_RULE_LOCK_H */
