/*
 * action_run.h
 *		Doing the action of a match.
 */
#ifndef ATLAS_ACTION_RUN_H
#define ATLAS_ACTION_RUN_H

#include "rules/rule_actions.h"

/* Setting: how long an action may take, in milliseconds; 0: any time. */
extern int	atlas_action_timeout;

/*
 * Does an action that was claimed, unless its rule is gone, off, or in its cooldown, and takes it out of the table. If it
 * fails, what it has done is undone, and the attempt is noted. Inside SPI_connect(), with the rights of the owner of
 * the extension, in a session of the owner of the rule, as which a function is called. Afterwards atlas_event_depth
 * and the tenant of the session are still those of the action, for what is done when the transaction is committed.
 */
extern void atlas_action_run(const AtlasAction *action, bool tries_for_ever);

/* Removes what an action has left in the session, which is committed already, so that the next one does not find it. */
extern void atlas_action_session_clean(void);

/* Notes that it has failed. */
extern void atlas_action_failed(const AtlasAction *action, const char *message, bool tries_for_ever);

/* Removes cooldowns that have ended: some of them. Returns whether there may be more. */
extern bool atlas_cooldowns_clean(void);

#endif							/* ATLAS_ACTION_RUN_H */
