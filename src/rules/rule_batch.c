/*
 * rule_batch.c
 *		Rules for a batch of events.
 *
 *	events ─► the rules that their types and names have ─► conditions ─► hits and matches ─► rows,
 *	and the matches that hits have made ─► rows
 *
 * Whoever writes hits is alone with that until the end of its transaction, because a match may take
 * several of them. The events whose rules would write hits are left if somebody else does so.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/arrays.h"
#include "rules/rule_actions.h"
#include "rules/rule_batch.h"
#include "rules/rule_cache.h"
#include "rules/rule_lock.h"
#include "rules/rule_rows.h"
#include "rules/rule_windows.h"
#include "store/log.h"

#define MAX_DEPTH 5				/* rules that lead to an event one after the other, for which rules are evaluated */

/* Reads the related objects of the events for which they may count. */
static void
read_related_of(AtlasRuleEvent *events, int nevents)
{
	AtlasRuleEvent **wanted = palloc(sizeof(AtlasRuleEvent *) * Max(nevents, 1));
	int			nwanted = 0;

	for (int i = 0; i < nevents; i++)
	{
		AtlasTenantRules *rules = events[i].has_related ? atlas_rules_of_tenant(events[i].key.tenant) : NULL;

		if (rules != NULL && atlas_rules_count_related(rules, events[i].name))
			wanted[nwanted++] = &events[i];
	}
	atlas_rule_events_read_related(wanted, nwanted);
	pfree(wanted);
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

/* Evaluates the rules for one event. */
static void
evaluate_event(AtlasRuleBatch *batch, const AtlasRuleEvent *event, const List *faults)
{
	List	   *rules = rules_with_objects(event, faults);
	List	   *true_rules;
	ListCell   *cell;

	if (rules == NIL)
		return;
	true_rules = atlas_rule_run_evaluate(&batch->run, event, rules);
	foreach(cell, true_rules)
	{
		AtlasRule  *rule = lfirst(cell);

		if (rule->times > 1)
			batch->hits = atlas_rule_event_hits(batch->hits, event, rule);
		else
			batch->matches = atlas_rule_event_hits(batch->matches, event, rule);
	}
	list_free(true_rules);
	list_free(rules);
}

void
atlas_rules_evaluate(AtlasRuleBatch *batch, AtlasRuleEvent *events, int nevents, const List *faults)
{
	memset(batch, 0, sizeof(*batch));
	atlas_rule_run_begin(&batch->run);
	if (nevents == 0)
		return;
	batch->is_locked = !atlas_lock_rules(ATLAS_EVALUATE_RULES);
	if (batch->is_locked)
		return;
	atlas_rule_cache_refresh();
	read_related_of(events, nevents);
	while (batch->nevaluated < nevents && !atlas_rule_run_is_long(&batch->run))
	{
		CHECK_FOR_INTERRUPTS();
		evaluate_event(batch, &events[batch->nevaluated++], faults);
	}
	if (batch->hits == NIL || atlas_lock_rules(ATLAS_WRITE_HITS))
		return;
	batch->is_locked = true;
	batch->nevaluated = 0;
	batch->hits = batch->matches = NIL;
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
	atlas_rule_hits_write(hits);
	if (hits != NIL)
	{
		list_sort(hits, atlas_hit_compare);
		matches = atlas_rule_windows_look(matches, hits);
	}
	list_sort(matches, atlas_hit_compare_events);
	atlas_actions_write(atlas_rule_matches_write(matches));
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
	atlas_rule_cache_refresh();
	if (atlas_log_select(&select_suspect, key, 1) == 0)
		return NIL;
	atlas_rule_event_take(event, SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	event->key = *key;
	read_related_of(event, 1);
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
	ListCell   *cell;

	atlas_rule_run_begin(&run);
	foreach(cell, rules)
		if (((const AtlasRule *) lfirst(cell))->id == suspect->rule_id)
			(void) atlas_rule_run_evaluate(&run, &event, list_make1(lfirst(cell)));
	atlas_rule_run_end(&run);
}

void
atlas_rules_end(AtlasRuleBatch *batch)
{
	atlas_rule_run_end(&batch->run);
}
