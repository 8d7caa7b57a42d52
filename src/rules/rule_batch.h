/*
 * rule_batch.h
 *		Rules for a batch of events.
 */
#ifndef ATLAS_RULE_BATCH_H
#define ATLAS_RULE_BATCH_H

#include "nodes/pg_list.h"

#include "rules/rule_evaluation.h"
#include "rules/rule_events.h"
#include "rules/rule_notes.h"

/* What rules have to say about some events. */
typedef struct AtlasRuleBatch
{
	AtlasRuleRun run;
	List	   *hits;			/* of AtlasHit, of rules that need several */
	List	   *matches;		/* of AtlasHit, of rules that need one */
	bool		may_write_hits; /* until the end of the transaction */
	bool		hits_are_locked;	/* somebody else does so */
	int			nevaluated;		/* events, the first ones; some of them may be left nevertheless */
	bool	   *makes_partitions;	/* of the caller: set while the partitions of rows are made */
} AtlasRuleBatch;

/*
 * Evaluates the rules for events, in the order of their keys, as long as that does not take too much
 * time: the events behind the first ones are to be left for another batch, and those that say so, for
 * which somebody else is in the way. Rules that are among the faults, of AtlasRuleFault, are left out.
 * Inside SPI_connect(), as the owner of the extension.
 */
extern void atlas_rules_evaluate(AtlasRuleBatch *batch, AtlasRuleEvent *events, int nevents, const List *faults);

/* Writes hits, matches, actions and counts. It may find out further rules that are to be switched off. */
extern void atlas_rules_write(AtlasRuleBatch *batch);

/* Adds the rules that are to be switched off to a list of AtlasRuleFault, copied. */
extern List *atlas_rules_add_faults(List *faults, const AtlasRuleBatch *batch);

/*
 * The rules, of AtlasRuleFault without a reason, whose conditions are evaluated for an event; and evaluating
 * that of one of them, to no other effect than to find out whether it kills the process.
 */
extern List *atlas_rules_of_suspect(const AtlasEventKey *key);
extern void atlas_rule_try_suspect(const AtlasEventKey *key, const AtlasRuleFault *suspect);

/* Frees what the batch has. */
extern void atlas_rules_end(AtlasRuleBatch *batch);

#endif							/* ATLAS_RULE_BATCH_H */
