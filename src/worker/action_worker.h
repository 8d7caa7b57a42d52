/*
 * action_worker.h
 *		The background worker that does the actions of the rules of one role in one database.
 */
#ifndef ATLAS_ACTION_WORKER_H
#define ATLAS_ACTION_WORKER_H

#include "c.h"

/* argument is the place of its session in shared memory. */
extern PGDLLEXPORT void atlas_action_worker_main(Datum argument);

#endif							/* ATLAS_ACTION_WORKER_H */
