/*
 * rule_evaluation.h
 *		For which rules an event counts, and which rules are to be switched off.
 */
#ifndef ATLAS_RULE_EVALUATION_H
#define ATLAS_RULE_EVALUATION_H

#include "nodes/pg_list.h"

#include "conditions/evaluation.h"
#include "rules/rule_events.h"

/* The evaluation of rules for a batch of events. */
typedef struct AtlasRuleRun
{
	uint64		number;
	MemoryContext context;		/* of all of it */
	AtlasEvaluation *evaluation;
	int			ticks;			/* of the timer, while conditions were evaluated */
	List	   *rules;			/* of AtlasRule: those that have a tally of this run */
} AtlasRuleRun;

/* Begins a run, in the current memory context. After an error it is enough that this is freed. */
extern void atlas_rule_run_begin(AtlasRuleRun *run);

/* The tally of a rule in this run. */
extern AtlasTally *atlas_rule_run_tally(AtlasRuleRun *run, AtlasRule *rule);

/*
 * Evaluates the conditions of rules for an event, and returns the rules for which it is true. Each
 * of the rules has a tally then, which says whether it is to be switched off; that the event
 * counts for such a rule is not said. Returns false if that took so much time that the event is to be left
 * for another batch; then at least one rule is to be switched off.
 */
extern bool atlas_rule_run_evaluate(AtlasRuleRun *run, const AtlasRuleEvent *event, const List *rules,
									List **true_rules);

/* Have conditions taken so much time that the rest of the batch is to be left for another one? */
extern bool atlas_rule_run_is_long(const AtlasRuleRun *run);

extern void atlas_rule_run_end(AtlasRuleRun *run);

#endif							/* ATLAS_RULE_EVALUATION_H */
