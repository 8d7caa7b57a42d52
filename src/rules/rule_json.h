/*
 * rule_json.h
 *		A rule as a request of the Events API writes it.
 */
#ifndef ATLAS_RULE_JSON_H
#define ATLAS_RULE_JSON_H

#include "rules/rule_definition.h"

/* The most bytes of such a request. */
#define ATLAS_MAX_RULE_REQUEST 65536

/* The most events that a request can have a rule tried on, and how many these are if it does not say. */
#define ATLAS_MAX_TRIED_EVENTS 100000
#define ATLAS_USUAL_TRIED_EVENTS 10000

typedef struct AtlasRuleRequest
{
	AtlasRuleWish wish;
	AtlasRule	rule;			/* that was made of it */
	TimestampTz since;			/* of a trial; DT_NOBEGIN if not given */
	TimestampTz until;			/* DT_NOEND if not given */
	int			max_events;
} AtlasRuleRequest;

/*
 * Reads a rule that is to be made, or tried if is_trial: such a rule has no name, but the other three.
 * Raises PT400 with all that is wrong, or PT413 if the request is too long. Inside SPI_connect().
 */
extern void atlas_rule_from_json(const text *body, bool is_trial, AtlasRuleRequest *request);

#endif							/* ATLAS_RULE_JSON_H */
