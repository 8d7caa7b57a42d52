/*
 * subtransaction.h
 *		Doing something in a subtransaction, and narrowing a failing batch down
 *		to the items that fail.
 */
#ifndef ATLAS_SUBTRANSACTION_H
#define ATLAS_SUBTRANSACTION_H

/*
 * Does some of a batch's items, [from, to), and raises an error to fail. Unless it
 * is kept, what it does is undone afterwards.
 */
typedef void (*AtlasProcess) (void *batch, int from, int to, bool kept);

/* Records that one item fails, and why. */
typedef void (*AtlasFail) (void *batch, int item, const ErrorData *error);

/*
 * Processes the items in a subtransaction. If that fails, tries halves of them, and
 * so on, until the failing items stand alone; those are recorded, and the others are
 * processed together. A cancel, and a lock that cannot be had, are raised: no item is
 * to blame for them.
 *
 * The trials are all undone, so however many items fail, few subtransactions that
 * have written something are left: with more than 64 the snapshots of every session
 * become expensive until the transaction ends.
 */
extern void atlas_bisect(void *batch, int nitems, AtlasProcess process, AtlasFail fail);

/* Runs a function in a subtransaction; returns its error, or NULL. */
extern ErrorData *atlas_try(void (*function) (void *), void *argument);

/* The same, but whatever the function does is undone, also when it succeeds. */
extern ErrorData *atlas_try_and_undo(void (*function) (void *), void *argument);

#endif							/* ATLAS_SUBTRANSACTION_H */
