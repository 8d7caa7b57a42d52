/*
 * rule_events.h
 *		Events as rules look at them.
 */
#ifndef ATLAS_RULE_EVENTS_H
#define ATLAS_RULE_EVENTS_H

#include "conditions/event_facts.h"
#include "rules/rule.h"
#include "store/event_keys.h"

typedef struct AtlasRuleObject
{
	const text *object_type;
	const text *object_id;
} AtlasRuleObject;

typedef struct AtlasRuleEvent
{
	AtlasEventKey key;
	AtlasEventFacts facts;
	AtlasRuleObject primary;
	const text *name;
	TimestampTz occurred_at;
	TimestampTz received_at;
	bool		has_related;	/* objects that it names, linked or not */
	AtlasRuleObject *related;	/* those that are linked, if they were read */
	int			nrelated;
	bool		is_left;		/* somebody is in the way of its evaluation */
} AtlasRuleEvent;

/* Takes an event out of its facts, whose row stays. */
extern void atlas_rule_event_take(AtlasRuleEvent *event, const AtlasEventFacts *facts);

/* Reads the related objects of events, which are in the order of their keys. Inside SPI_connect(). */
extern void atlas_rule_events_read_related(AtlasRuleEvent **events, int nevents);

/*
 * Adds a hit for each object of the event that counts for the rule, if its condition is true, to a list
 * of AtlasHit. It does not if the event came before the rule began.
 */
extern List *atlas_rule_event_hits(List *hits, const AtlasRuleEvent *event, AtlasRule *rule);

#endif							/* ATLAS_RULE_EVENTS_H */
