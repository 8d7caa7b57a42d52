/*
 * rule_actions.h
 *		Actions of matches that are still to be done, or have failed: rows of atlas_rule_actions.
 */
#ifndef ATLAS_RULE_ACTIONS_H
#define ATLAS_RULE_ACTIONS_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

/* What has become of an action, and what the match says then. */
#define ATLAS_ACTION_PENDING "PENDING"
#define ATLAS_ACTION_DONE "DONE"
#define ATLAS_ACTION_FAILED "FAILED"
#define ATLAS_ACTION_HELD_BACK "HELD_BACK"
#define ATLAS_ACTION_CANCELLED "CANCELLED"

/* What is said of an attempt of which nothing else is known. */
#define ATLAS_ACTION_ENDED_PROCESS "the action worker ended while the action was under way"

/* Setting: the most matches of a rule with an action in a minute, after which it is switched off; 0: any number. */
extern int	atlas_rule_match_limit;

/* An action that is to be done. */
typedef struct AtlasAction
{
	int64		match_id;
	int64		rule_id;
	text	   *tenant;
	text	   *object_id;
	pg_uuid_t	event_id;
	int			attempts;		/* this one included */
	int			depth;
} AtlasAction;

/* All of these run inside SPI_connect(), as the owner of the extension. */

/*
 * Writes actions for new matches, of AtlasHit, of rules that have one. Has a rule that matches too often
 * switched off, by the fault in its tally.
 */
extern void atlas_actions_write(const List *matches);

/* Have any been written in this process since this was last asked, and may be due now? */
extern bool atlas_actions_were_written(void);

/* Makes actions due whose time has come. Returns whether there may be more of them. */
extern bool atlas_actions_make_due(void);

/* The name after this one, or the first if it is NULL, of the roles for which actions are due; NULL: there are none. */
extern text *atlas_next_acting_role(const text *after);

/*
 * The rule after this one, from 0 on, for which actions in a session of the role are due, and may be done
 * in this database; 0: there are none. Sets the tenant.
 */
extern int64 atlas_next_acting_rule(const text *session_role, int64 after, text **tenant);

/*
 * Claims up to so many due actions of a rule, and counts the attempts, durably, so that one that ends the process, or
 * the server, is counted too. One that was attempted before is claimed alone. actions has room for them. Returns how
 * many there are.
 */
extern int	atlas_actions_claim(const text *session_role, int64 rule_id, int most, AtlasAction *actions);

/* Takes an action out of the table. Returns false if it is not there any more. */
extern bool atlas_action_take(const AtlasAction *action);

/* Puts what was claimed, and not begun, back, without counting an attempt. */
extern void atlas_action_put_back(const AtlasAction *action);

/* Says in the match what has become of the action. */
extern void atlas_action_note(const AtlasAction *action, const char *status);

/* Notes a failed attempt. After max_attempts, unless the action is tried for ever, it is FAILED. Returns whether it is. */
extern bool atlas_action_fail(const AtlasAction *action, const char *message, bool tries_for_ever);

/* Has due actions of a rule FAILED. Returns whether there may be more of them. */
extern bool atlas_actions_fail_of_rule(const text *session_role, int64 rule_id, const char *message);

/* Makes FAILED actions due again, those for an event or, if it is NULL, all. Returns how many. */
extern uint64 atlas_actions_retry_failed(const pg_uuid_t *event_id);

/* Lets all rules act in this database. */
extern void atlas_actions_resume(void);

#endif							/* ATLAS_RULE_ACTIONS_H */
