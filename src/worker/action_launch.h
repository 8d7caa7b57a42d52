/*
 * action_launch.h
 *		Starting action workers, and making them leave, on behalf of the launcher.
 */
#ifndef ATLAS_ACTION_LAUNCH_H
#define ATLAS_ACTION_LAUNCH_H

#include "datatype/timestamp.h"

/* How many run or are about to. */
extern int	atlas_action_workers_running(void);

/* Starts one, if one is wanted and may run. Returns whether it did. */
extern bool atlas_action_worker_start(TimestampTz now);

/* Does one wait for room? And may it have that of a linker, because there are not yet as many as there may be? */
extern bool atlas_action_worker_waits(TimestampTz now, bool *may_have_room);

/* Finds those that ended before they could begin, and terminates those whose action does not heed its timeout. */
extern void atlas_action_workers_check(TimestampTz now);

/* Has those that wait for actions, or have had their turn, make room for others. */
extern void atlas_action_workers_press(TimestampTz now);

/* When the launcher must look again because of them, if that is before. */
extern TimestampTz atlas_action_workers_next_look(TimestampTz now, TimestampTz until);

/* What an earlier launcher has planned is forgotten, or what was planned by a clock that was set back since. */
extern void atlas_action_workers_forget(bool starting, TimestampTz now);

#endif							/* ATLAS_ACTION_LAUNCH_H */
