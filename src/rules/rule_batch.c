/*
 * rule_batch.c
 *		Rules for a batch of events.
 *
 *	events ─► the rules that their types and names have ─► conditions ─► hits and matches ─► rows,
 *	and the matches that hits have made ─► rows
 *
 * Whoever writes hits is alone with that until the end of its transaction, because a match may take
 * several of them. The events whose rules would write hits are left if somebody else does so, and so are
 * those with a hit of a rule that somebody is about to change: hits must not outlive their rule. Neither
 * is waited for, and once one event has been left, conditions are not evaluated in vain for the others.
 *
 * A batch is one transaction, and nothing is linked meanwhile, so it ends when it has many rows to
 * write. An event with many objects can have a row for each of its objects and rules. It has no more than
 * so many: the rules that were made last are switched off.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "rules/rule_actions.h"
#include "rules/rule_batch.h"
#include "rules/rule_cache.h"
#include "rules/rule_lock.h"
#include "rules/rule_rows.h"
#include "rules/rule_windows.h"
#include "store/log.h"

#define ROWS_OF_BATCH 5000		/* after which it is to end */
#define MOST_ROWS_OF_EVENT 10000
#define MAX_DEPTH 5				/* rules that lead to an event one after the other, for which rules are evaluated */

/*
 * Reads the rules of the tenants of events, and the related objects for which they may count. Returns for how
 * many events: the first ones, as far as the rules do not take too much memory.
 */
static int
read_related_of(AtlasRuleEvent *events, int nevents)
{
	AtlasRuleEvent **wanted = palloc(sizeof(AtlasRuleEvent *) * Max(nevents, 1));
	int			nwanted = 0;
	int			end;

	for (end = 0; end < nevents && (end == 0 || !atlas_rule_cache_is_large()); end++)
	{
		AtlasTenantRules *rules = atlas_rules_of_tenant(events[end].key.tenant);

		if (rules != NULL && events[end].has_related && atlas_rules_count_related(rules, events[end].name))
			wanted[nwanted++] = &events[end];
	}
	atlas_rule_events_read_related(wanted, nwanted);
	pfree(wanted);
	return end;
}

/* Is the type that of the primary object, or of a related object before this one? */
static bool
is_known_type(const AtlasRuleEvent *event, int related)
{
	const text *type = event->related[related].object_type;

	if (atlas_compare_text(type, event->primary.object_type) == 0)
		return true;
	for (int i = 0; i < related; i++)
		if (atlas_compare_text(type, event->related[i].object_type) == 0)
			return true;
	return false;
}

/* The rules that are about objects of the event, and events of this name; each once. */
static List *
rules_of_event(const AtlasRuleEvent *event)
{
	AtlasTenantRules *rules = atlas_rules_of_tenant(event->key.tenant);
	List	   *result;

	if (rules == NULL || event->key.depth > MAX_DEPTH)
		return NIL;
	result = atlas_rules_add(NIL, rules, event->primary.object_type, event->name);
	for (int i = 0; i < event->nrelated; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0 && atlas_compare_text(event->related[i].object_type, event->related[i - 1].object_type) == 0)
			continue;
		if (!is_known_type(event, i))
			result = atlas_rules_add(result, rules, event->related[i].object_type, event->name);
	}
	return result;
}

/* Has the rule been found out to be at fault before? */
static bool
is_at_fault(const AtlasRule *rule, const List *faults)
{
	ListCell   *cell;

	foreach(cell, faults)
	{
		const AtlasRuleFault *fault = lfirst(cell);

		if (fault->rule_id == rule->id && atlas_compare_text(fault->tenant, rule->tenant) == 0)
			return true;
	}
	return false;
}

/* Leaves out the rules that no object of the event counts for, so that conditions are not evaluated in vain. */
static List *
rules_with_objects(const AtlasRuleEvent *event, const List *faults)
{
	List	   *candidates = rules_of_event(event);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, candidates)
	{
		List	   *hits = is_at_fault(lfirst(cell), faults) ? NIL : atlas_rule_event_hits(NIL, event, lfirst(cell));

		if (hits != NIL)
			result = lappend(result, lfirst(cell));
		list_free_deep(hits);
	}
	list_free(candidates);
	return result;
}

/* For list_sort(). */
static int
compare_rules(const ListCell *a, const ListCell *b)
{
	int64		left = ((const AtlasRule *) lfirst(a))->id;
	int64		right = ((const AtlasRule *) lfirst(b))->id;

	return (left > right) - (left < right);
}

/* Leaves out the youngest of the rules that the event counts for, if there are too many hits. */
static List *
without_too_many(AtlasRuleRun *run, const AtlasRuleEvent *event, List *rules)
{
	List	   *result = NIL;
	int64		nhits = 0;
	ListCell   *cell;

	if ((int64) list_length(rules) * (event->nrelated + 1) <= MOST_ROWS_OF_EVENT)
		return rules;
	list_sort(rules, compare_rules);
	foreach(cell, rules)
	{
		List	   *hits = atlas_rule_event_hits(NIL, event, lfirst(cell));

		CHECK_FOR_INTERRUPTS();
		if (nhits + list_length(hits) > MOST_ROWS_OF_EVENT)
			atlas_rule_run_tally(run, lfirst(cell))->fault =
				MemoryContextStrdup(run->context,
									psprintf("with it, event %s has more than %d hits of rules",
											 atlas_event_id_string(&event->key.id), MOST_ROWS_OF_EVENT));
		else
		{
			result = lappend(result, lfirst(cell));
			nhits += list_length(hits);
		}
		list_free_deep(hits);
	}
	list_free(rules);
	return result;
}

/* Is one of the rules about several events? */
static bool
some_have_hits(const List *rules)
{
	ListCell   *cell;

	foreach(cell, rules)
		if (((const AtlasRule *) lfirst(cell))->times > 1)
			return true;
	return false;
}

/* May hits be written, which only one may do at a time? */
static bool
may_write_hits(AtlasRuleBatch *batch)
{
	if (!batch->may_write_hits && !batch->hits_are_locked)
	{
		batch->may_write_hits = atlas_lock_rules(ATLAS_WRITE_HITS);
		batch->hits_are_locked = !batch->may_write_hits;
	}
	return batch->may_write_hits;
}

/* Is there a rule among them that somebody is changing? Those that have hits are kept then, or known to be gone. */
static bool
some_are_locked(AtlasRuleBatch *batch, const List *rules)
{
	ListCell   *cell;

	foreach(cell, rules)
	{
		AtlasRule  *rule = lfirst(cell);
		AtlasTally *tally = atlas_rule_run_tally(&batch->run, rule);

		if (rule->times > 1 && tally->kept == ATLAS_RULE_UNASKED)
			tally->kept = atlas_rule_keep(rule);
		if (tally->kept == ATLAS_RULE_LOCKED)
			return true;
	}
	return false;
}

/* Evaluates the rules for one event. Returns false if this and the ones behind it are to be left for another batch. */
static bool
evaluate_event(AtlasRuleBatch *batch, AtlasRuleEvent *event, const List *faults)
{
	List	   *rules = rules_with_objects(event, faults);
	List	   *true_rules;
	ListCell   *cell;

	if (rules == NIL)
		return true;
	event->is_left = batch->hits_are_locked && some_have_hits(rules);
	if (event->is_left)
		return true;
	if (!atlas_rule_run_evaluate(&batch->run, event, rules, &true_rules))
		return false;
	true_rules = without_too_many(&batch->run, event, true_rules);
	event->is_left = some_have_hits(true_rules) &&
		(!may_write_hits(batch) || some_are_locked(batch, true_rules));
	if (event->is_left)
		return true;
	foreach(cell, true_rules)
	{
		AtlasRule  *rule = lfirst(cell);

		if (rule->tally.kept == ATLAS_RULE_GONE)
			continue;
		if (rule->times > 1)
			batch->hits = atlas_rule_event_hits(batch->hits, event, rule);
		else
			batch->matches = atlas_rule_event_hits(batch->matches, event, rule);
	}
	list_free(true_rules);
	list_free(rules);
	return true;
}

/* Is the rest to be left for another batch? */
static bool
is_long_batch(const AtlasRuleBatch *batch)
{
	return atlas_rule_run_is_long(&batch->run) ||
		list_length(batch->hits) + list_length(batch->matches) >= ROWS_OF_BATCH;
}

void
atlas_rules_evaluate(AtlasRuleBatch *batch, AtlasRuleEvent *events, int nevents, const List *faults)
{
	memset(batch, 0, sizeof(*batch));
	atlas_rule_run_begin(&batch->run);
	if (nevents == 0)
		return;
	if (!atlas_lock_rules(ATLAS_EVALUATE_RULES))
	{
		for (int i = 0; i < nevents; i++)
			events[i].is_left = true;
		batch->nevaluated = nevents;
		return;
	}
	atlas_rule_cache_refresh();
	nevents = read_related_of(events, nevents);
	while (batch->nevaluated < nevents && !is_long_batch(batch))
	{
		CHECK_FOR_INTERRUPTS();
		if (!evaluate_event(batch, &events[batch->nevaluated], faults))
			break;
		batch->nevaluated++;
	}
}

/* Leaves out what a rule has that turned out to be at fault later on. */
static List *
without_hits_of_faulty(List *hits)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, hits)
		if (((const AtlasHit *) lfirst(cell))->rule->tally.fault == NULL)
			result = lappend(result, lfirst(cell));
	list_free(hits);
	return result;
}

void
atlas_rules_write(AtlasRuleBatch *batch)
{
	List	   *hits = without_hits_of_faulty(batch->hits);
	List	   *matches = without_hits_of_faulty(batch->matches);

	list_sort(hits, atlas_hit_compare_events);
	atlas_rule_hits_write(hits, batch->makes_partitions);
	if (hits != NIL)
	{
		list_sort(hits, atlas_hit_compare);
		matches = atlas_rule_windows_look(matches, hits);
	}
	list_sort(matches, atlas_hit_compare_events);
	atlas_actions_write(atlas_rule_matches_write(matches, batch->makes_partitions));
	atlas_rules_count(batch->run.rules);
}

List *
atlas_rules_add_faults(List *faults, const AtlasRuleBatch *batch)
{
	ListCell   *cell;

	foreach(cell, batch->run.rules)
	{
		const AtlasRule *rule = lfirst(cell);
		AtlasRuleFault *fault;

		if (rule->tally.fault == NULL)
			continue;
		fault = palloc(sizeof(AtlasRuleFault));
		fault->rule_id = rule->id;
		fault->tenant = (const text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(rule->tenant));
		fault->reason = pstrdup(rule->tally.fault);
		faults = lappend(faults, fault);
	}
	return faults;
}

/* ----- An event that may have killed the linker ----- */

static AtlasStatement select_suspect = {
	ATLAS_LOG_BY_KEYS(ATLAS_FACT_COLUMNS),
};

/* Reads the event, and the rules that are evaluated for it. */
static List *
read_suspect(const AtlasEventKey *key, AtlasRuleEvent *event)
{
	AtlasEventFacts facts;

	atlas_rule_cache_refresh();
	if (atlas_log_select(&select_suspect, key, 1) == 0)
		return NIL;
	atlas_event_facts_take(&facts, SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	atlas_rule_event_take(event, &facts);
	event->key = *key;
	(void) read_related_of(event, 1);
	return rules_with_objects(event, NIL);
}

List *
atlas_rules_of_suspect(const AtlasEventKey *key)
{
	AtlasRuleEvent event;
	List	   *rules = read_suspect(key, &event);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, rules)
	{
		const AtlasRule *rule = lfirst(cell);
		AtlasRuleFault *suspect = palloc0(sizeof(AtlasRuleFault));

		suspect->rule_id = rule->id;
		suspect->tenant = key->tenant;
		if (rule->has_condition)
			result = lappend(result, suspect);
	}
	return result;
}

void
atlas_rule_try_suspect(const AtlasEventKey *key, const AtlasRuleFault *suspect)
{
	AtlasRuleEvent event;
	AtlasRuleRun run;
	List	   *rules = read_suspect(key, &event);
	List	   *true_rules;
	ListCell   *cell;

	atlas_rule_run_begin(&run);
	foreach(cell, rules)
		if (((const AtlasRule *) lfirst(cell))->id == suspect->rule_id)
			(void) atlas_rule_run_evaluate(&run, &event, list_make1(lfirst(cell)), &true_rules);
	atlas_rule_run_end(&run);
}

void
atlas_rules_end(AtlasRuleBatch *batch)
{
	atlas_rule_run_end(&batch->run);
}
