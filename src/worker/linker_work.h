/*
 * linker_work.h
 *		The transactions of a linker that come after linking. They return what the steps of
 *		linker_transactions.h do.
 */
#ifndef ATLAS_LINKER_WORK_H
#define ATLAS_LINKER_WORK_H

#include "store/event_keys.h"

/*
 * The second step, for a batch, which is to take less time while links come. *more says
 * whether there is more to do at once.
 */
extern bool atlas_step_work(bool links_come, bool *more);

/* Has rules begin that were made or enabled, before any more events are worked on. *more as above. */
extern bool atlas_step_rules(bool *more);

/* Goes on with a rebuild of the documents, when nothing else is to be done. *more as above. */
extern bool atlas_step_rebuild(bool *more);

/* Asks for action workers, for the roles for which actions are due. */
extern bool atlas_step_actions(void);

/* Works on the first of the events that may have killed the linker before; the others are still to come. */
extern bool atlas_step_work_on_suspect(AtlasEventKey *suspects, int nsuspects);

#endif							/* ATLAS_LINKER_WORK_H */
