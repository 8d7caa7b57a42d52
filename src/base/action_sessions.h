/*
 * action_sessions.h
 *		The sessions in which actions of rules are done: one for each database and role for which actions
 *		are due. These calls take the lock of the shared state, but for the last one.
 */
#ifndef ATLAS_ACTION_SESSIONS_H
#define ATLAS_ACTION_SESSIONS_H

#include "base/action_session.h"

/*
 * Says that actions are due. Returns false if all places are taken; it is to be said again then.
 */
extern bool atlas_action_session_want(Oid database, Oid role);

/* Has the processes in a database leave, those that are waiting at once; says whether there are any; and terminates them. */
extern void atlas_action_sessions_ask(Oid database);
extern bool atlas_action_sessions_are_there(Oid database);
extern void atlas_action_sessions_terminate(Oid database);

/* Wakes the process. */
extern void atlas_action_session_wake(AtlasActionSession *session);

#endif							/* ATLAS_ACTION_SESSIONS_H */
