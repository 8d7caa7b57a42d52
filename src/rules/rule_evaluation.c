/*
 * rule_evaluation.c
 *		For which rules an event counts, and which rules are to be switched off.
 *
 * The event is made once, of what all conditions look at. The limit of time is one for all
 * conditions of an event, so the rule at which it is met need not be the one that took the
 * time: the timer's ticks are counted by rule, and the one with the most of them is to blame. Then
 * the others go on, with the time of a new event. If there are many such rules, the event is left for
 * another batch after a while, when the ones that were found are switched off, so that linking
 * does not wait for all of them.
 *
 * A condition that stays within the limits for each event may still be too slow for all of
 * them. Its rule is to blame if it has taken longer than 10 milliseconds per event, on the
 * average of a batch, and 200 altogether. Ticks are a sample of what the process does, so
 * that a wait for the processor is hardly counted.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/event_id.h"
#include "base/retry.h"
#include "conditions/limits.h"
#include "rules/rule_evaluation.h"

#define TICKS_OF_SLOW_RULE 20	/* in a batch */
#define TICKS_OF_RUN 30			/* after which a batch is to end */

static uint64 runs = 0;

void
atlas_rule_run_begin(AtlasRuleRun *run)
{
	memset(run, 0, sizeof(*run));
	run->number = ++runs;
	run->context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events rule run",
										 ALLOCSET_DEFAULT_SIZES);
}

AtlasTally *
atlas_rule_run_tally(AtlasRuleRun *run, AtlasRule *rule)
{
	MemoryContext old;

	if (rule->tally.run == run->number)
		return &rule->tally;
	memset(&rule->tally, 0, sizeof(AtlasTally));
	rule->tally.run = run->number;
	old = MemoryContextSwitchTo(run->context);
	run->rules = lappend(run->rules, rule);
	if (rule->problem != NULL)
		rule->tally.fault = psprintf("the rule cannot be evaluated: %s", rule->problem);
	else
		rule->tally.fault = rule->known_fault;
	MemoryContextSwitchTo(old);
	return &rule->tally;
}

/* What the condition of a rule has come to for an event. */
typedef struct Outcome
{
	AtlasRule  *rule;
	int			ticks;
	bool		is_unknown;
	const char *error;
} Outcome;

/* An event that is evaluated. */
typedef struct EventRun
{
	AtlasRuleRun *run;
	const AtlasRuleEvent *event;
	AtlasFactSet wanted;
	Outcome    *outcomes;		/* of the conditions that were evaluated so far, and of the one that is */
	int			noutcomes;
	bool		any_fault;		/* a rule is to be switched off because of what it took for this event */
} EventRun;

/* Makes the event for conditions, with the time of a new one; after an error from the ground up. */
static void
make_event_for_conditions(EventRun *event_run, bool after_error)
{
	AtlasRuleRun *run = event_run->run;
	MemoryContext old = MemoryContextSwitchTo(run->context);

	if (after_error)
	{
		atlas_evaluation_end(run->evaluation);
		run->evaluation = NULL;
	}
	if (run->evaluation == NULL)
		run->evaluation = atlas_evaluation_begin();
	MemoryContextSwitchTo(old);
	atlas_evaluation_set_event(run->evaluation, &event_run->event->facts, event_run->wanted);
}

/* Can it be the condition that has caused this error? */
static bool
is_of_condition(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_PROGRAM_LIMIT_EXCEEDED || category == ERRCODE_DATA_EXCEPTION ||
		category == ERRCODE_FEATURE_NOT_SUPPORTED;
}

/*
 * Evaluates a condition. Returns the error if it raises one. Conditions have no effects that
 * a subtransaction would have to undo.
 */
static ErrorData *
try_condition(AtlasRuleRun *run, const AtlasRule *rule, AtlasTruth *truth)
{
	MemoryContext old = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		*truth = atlas_condition_evaluate(run->evaluation, &rule->condition);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(run->context);
		error = CopyErrorData();
		if (!is_of_condition(error))
			PG_RE_THROW();
		FlushErrorState();
		MemoryContextSwitchTo(old);
	}
	PG_END_TRY();
	return error;
}

/* Switches a rule off because of what its condition took for this event. */
static void
blame_for_event(EventRun *event_run, AtlasRule *rule, const ErrorData *error)
{
	AtlasTally *tally = atlas_rule_run_tally(event_run->run, rule);

	tally->fault = MemoryContextStrdup(event_run->run->context,
									   psprintf("%s: event %s", error->message,
												atlas_event_id_string(&event_run->event->key.id)));
	event_run->any_fault = true;
}

/* The rule that has taken the most time of this event, if it is not this one. NULL if it is. */
static AtlasRule *
slower_rule(const EventRun *event_run, int ticks)
{
	AtlasRule  *result = NULL;

	for (int i = 0; i < event_run->noutcomes; i++)
	{
		if (event_run->outcomes[i].ticks <= ticks)
			continue;
		ticks = event_run->outcomes[i].ticks;
		result = event_run->outcomes[i].rule;
	}
	return result;
}

/* Notes an error of a condition. Returns whether the condition is to be evaluated once more. */
static bool
note_error(EventRun *event_run, AtlasRule *rule, int ticks, const ErrorData *error)
{
	AtlasRule  *slower = NULL;

	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		error->sqlerrcode == ERRCODE_STATEMENT_TOO_COMPLEX)
	{
		event_run->outcomes[event_run->noutcomes].error = error->message;
		return false;
	}
	if (atlas_evaluation_ticks() > ATLAS_CONDITION_TIME / ATLAS_TICK)
		slower = slower_rule(event_run, ticks);
	blame_for_event(event_run, slower != NULL ? slower : rule, error);
	return slower != NULL;
}

/* Is a rule too slow for the events of this batch so far? Notes it. */
static void
look_for_slowness(AtlasRuleRun *run, AtlasTally *tally)
{
	int			milliseconds = tally->ticks * ATLAS_TICK;

	if (tally->fault != NULL || tally->ticks < TICKS_OF_SLOW_RULE || milliseconds < 10 * tally->evaluated)
		return;
	tally->fault = MemoryContextStrdup(run->context,
									   psprintf("the condition takes %d ms for each of %d events",
												milliseconds / tally->evaluated, tally->evaluated));
}

/* Evaluates the condition of one rule. Is it true? */
static bool
is_true_for_event(EventRun *event_run, AtlasRule *rule)
{
	AtlasRuleRun *run = event_run->run;
	AtlasTally *tally = atlas_rule_run_tally(run, rule);
	Outcome    *outcome = &event_run->outcomes[event_run->noutcomes];
	AtlasTruth	truth = ATLAS_FALSE;
	ErrorData  *error;
	bool		again;

	outcome->rule = rule;
	do
	{
		int			before = atlas_evaluation_ticks();

		error = try_condition(run, rule, &truth);
		outcome->ticks = atlas_evaluation_ticks() - before;
		tally->ticks += outcome->ticks;
		run->ticks += outcome->ticks;
		again = error != NULL && note_error(event_run, rule, outcome->ticks, error);
		if (error != NULL)
			make_event_for_conditions(event_run, true);
		for (int i = 0; again && i < event_run->noutcomes; i++)
			event_run->outcomes[i].ticks = 0;
	} while (again);
	outcome->is_unknown = error == NULL && truth == ATLAS_UNKNOWN;
	event_run->noutcomes++;
	tally->evaluated++;
	look_for_slowness(run, tally);
	return error == NULL && truth == ATLAS_TRUE;
}

/* Counts what has come out, now that all rules are evaluated for the event. */
static void
count_outcomes(const EventRun *event_run)
{
	for (int i = 0; i < event_run->noutcomes; i++)
	{
		const Outcome *outcome = &event_run->outcomes[i];
		AtlasTally *tally = atlas_rule_run_tally(event_run->run, outcome->rule);

		tally->unknown += outcome->is_unknown;
		if (outcome->error == NULL)
			continue;
		tally->errors++;
		tally->last_error = outcome->error;
	}
}

/* What the conditions of these rules look at. */
static AtlasFactSet
facts_of_rules(const List *rules)
{
	AtlasFactSet facts = ATLAS_NO_FACTS;
	ListCell   *cell;

	foreach(cell, rules)
	{
		const AtlasRule *rule = lfirst(cell);

		if (rule->has_condition)
			facts |= rule->condition.facts;
	}
	return facts;
}

/* Leaves out the rules that are to be switched off. */
static List *
without_faulty(AtlasRuleRun *run, List *rules)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, rules)
		if (atlas_rule_run_tally(run, lfirst(cell))->fault == NULL)
			result = lappend(result, lfirst(cell));
	list_free(rules);
	return result;
}

bool
atlas_rule_run_evaluate(AtlasRuleRun *run, const AtlasRuleEvent *event, const List *rules, List **true_rules)
{
	EventRun	event_run = {.run = run,.event = event};
	bool		is_made = false;
	ListCell   *cell;

	*true_rules = NIL;
	event_run.wanted = facts_of_rules(rules);
	event_run.outcomes = palloc0(sizeof(Outcome) * (list_length(rules) + 1));
	foreach(cell, rules)
	{
		AtlasRule  *rule = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (event_run.any_fault && atlas_rule_run_is_long(run))
			break;
		if (atlas_rule_run_tally(run, rule)->fault != NULL)
			continue;
		if (rule->has_condition && !is_made)
			make_event_for_conditions(&event_run, false);
		is_made |= rule->has_condition;
		if (!rule->has_condition || is_true_for_event(&event_run, rule))
			*true_rules = lappend(*true_rules, rule);
	}
	if (cell == NULL)
		count_outcomes(&event_run);
	pfree(event_run.outcomes);
	*true_rules = without_faulty(run, *true_rules);
	return cell == NULL;
}

bool
atlas_rule_run_is_long(const AtlasRuleRun *run)
{
	return run->ticks >= TICKS_OF_RUN;
}

void
atlas_rule_run_end(AtlasRuleRun *run)
{
	MemoryContextDelete(run->context);
}
