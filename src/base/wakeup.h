/*
 * wakeup.h
 *		Tells the linker, once a transaction has committed, that there is work.
 */
#ifndef ATLAS_WAKEUP_H
#define ATLAS_WAKEUP_H

extern void atlas_wakeup_init(void);

/*
 * When this transaction commits, counts so many stored events and, if any were
 * queued, wakes the linker of this database.
 */
extern void atlas_wake_at_commit(int nstored, int nqueued);

#endif							/* ATLAS_WAKEUP_H */
