/*
 * rule_trial.h
 *		What a rule would have matched.
 */
#ifndef ATLAS_RULE_TRIAL_H
#define ATLAS_RULE_TRIAL_H

#include "nodes/pg_list.h"

#include "rules/rule.h"

/* Which events of the rule's tenant are looked at. */
typedef struct AtlasTrialRange
{
	pg_uuid_t	low;
	pg_uuid_t	high;			/* without it */
	int			most_events;	/* that are looked at, the newest ones */
	int			enough;			/* of the kind that the rule is about; fewer need not be looked at */
} AtlasTrialRange;

typedef struct AtlasTrial
{
	int			nevents;		/* of the kind that the rule is about: of its type, name and role */
	int			ntrue;			/* for which its condition is true */
	int			nunknown;		/* or unknown */
	List	   *hits;			/* of AtlasTrialHit, the newest event first */
	bool		is_cut;			/* there are more events than were looked at */
	TimestampTz looked_since;	/* when the oldest of these occurred */
} AtlasTrial;

typedef struct AtlasTrialHit
{
	AtlasHit	hit;
	const text *name;			/* of the event */
} AtlasTrialHit;

/*
 * Tries the rule. Inside SPI_connect(), as the owner of the extension. A condition that exceeds its
 * limits is an error.
 */
extern void atlas_rule_try(AtlasRule *rule, const AtlasTrialRange *range, AtlasTrial *trial);

/* The same for a rule that is about to be made: on the last 1,000 events of its kind. */
extern void atlas_rule_try_new(AtlasRule *rule, AtlasTrial *trial);

/* Those of the hits that are matches, in the order of their events. */
extern List *atlas_trial_matches(AtlasTrial *trial, const AtlasRule *rule);

#endif							/* ATLAS_RULE_TRIAL_H */
