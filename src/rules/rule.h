/*
 * rule.h
 *		Types only: a rule, and what its evaluation for a batch of events has come to.
 */
#ifndef ATLAS_RULE_H
#define ATLAS_RULE_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "conditions/condition.h"

/* Which of the objects of an event count. */
typedef enum AtlasRuleRole
{
	ATLAS_ROLE_ANY,
	ATLAS_ROLE_PRIMARY,
	ATLAS_ROLE_RELATED
} AtlasRuleRole;

/* Whether hits of a rule may be written, which must not outlive it. */
typedef enum AtlasRuleKept
{
	ATLAS_RULE_UNASKED,
	ATLAS_RULE_KEPT,			/* until the end of the transaction */
	ATLAS_RULE_LOCKED,			/* somebody is changing it */
	ATLAS_RULE_GONE
} AtlasRuleKept;

/* Of one run, which is the evaluation for one batch of events. */
typedef struct AtlasTally
{
	uint64		run;
	int			evaluated;		/* events */
	int			unknown;
	int			errors;
	const char *last_error;
	int			ticks;			/* of the timer, while its condition was evaluated */
	const char *fault;			/* why it is to be switched off; NULL: it is not */
	AtlasRuleKept kept;			/* asked when it has its first hit */
} AtlasTally;

typedef struct AtlasRule
{
	int64		id;
	const text *tenant;
	const text *name;
	const text *object_type;
	const text *event_name;		/* NULL: any */
	bool		has_condition;
	AtlasCondition condition;
	const char *problem;		/* why the condition cannot be evaluated at all; NULL: it can */
	const char *known_fault;	/* why it is to be switched off, found out before; NULL: nothing was */
	int			times;
	int64		within;			/* microseconds, if times is more than 1 */
	AtlasRuleRole role;
	TimestampTz since;			/* events from before do not count */
	const text *session_role;	/* whose session acts, empty for a notification; NULL: the rule has no action */
	TimestampTz minute;			/* since when its matches are counted, for rule_match_limit */
	int			matches;
	AtlasTally	tally;
} AtlasRule;

/* A rule that is to be switched off, and why. */
typedef struct AtlasRuleFault
{
	int64		rule_id;
	const text *tenant;
	const char *reason;
} AtlasRuleFault;

/* An event that counts for a rule, and for which object. */
typedef struct AtlasHit
{
	AtlasRule  *rule;
	const text *object_id;
	pg_uuid_t	event_id;
	TimestampTz occurred_at;
	int			depth;			/* how many rules led to the event */
	int64		match_id;		/* if it is a match that is written */
} AtlasHit;

#endif							/* ATLAS_RULE_H */
