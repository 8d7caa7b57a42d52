/*
 * rule_trial.c
 *		What a rule would have matched.
 *
 * The newest events of the tenant are read from the log, some at a time, and go the way that new ones go:
 * hits of them, and windows of these. The rule counts as if it had begun with the oldest of them.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/arrays.h"
#include "base/statement.h"
#include "rules/rule_evaluation.h"
#include "rules/rule_events.h"
#include "rules/rule_rows.h"
#include "rules/rule_trial.h"
#include "rules/window.h"

#define EVENTS_AT_ONCE 500
#define EVENTS_OF_NEW_RULE 1000 /* on which a rule is tried when it is made */
#define MOST_EVENTS_OF_NEW_RULE 10000	/* among which they are looked for */

/* Index Scan Backward on the primary keys of the partitions, the newest first. */
static AtlasStatement select_newest = {
	.sql =
	"SELECT " ATLAS_FACT_COLUMNS
	"  FROM @extschema@.atlas_events e"
	" WHERE e.tenant_id OPERATOR(pg_catalog.=) $1"
	"   AND e.event_id OPERATOR(pg_catalog.>=) $2 AND e.event_id OPERATOR(pg_catalog.<) $3"
	" ORDER BY e.event_id DESC LIMIT $4",
	.nparameters = 4,
	.parameters = {TEXTOID, UUIDOID, UUIDOID, INT8OID},
};

/* A trial that is under way. */
typedef struct TrialRun
{
	AtlasRule  *rule;
	const AtlasTrialRange *range;
	AtlasTrial *trial;
	AtlasRuleRun run;
	pg_uuid_t	high;			/* events below this id are left */
	int			left;			/* that may be looked at */
	MemoryContext result;		/* of the hits */
} TrialRun;

/* Keeps a hit, which is gone with its events otherwise. */
static void
keep_hit(TrialRun *trial_run, const AtlasHit *hit, const text *name)
{
	MemoryContext old = MemoryContextSwitchTo(trial_run->result);
	AtlasTrialHit *copy = palloc(sizeof(AtlasTrialHit));

	copy->hit = *hit;
	copy->hit.object_id = (const text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(hit->object_id));
	copy->name = (const text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(name));
	trial_run->trial->hits = lappend(trial_run->trial->hits, copy);
	MemoryContextSwitchTo(old);
}

/* Looks at an event. */
static void
try_event(TrialRun *trial_run, const AtlasRuleEvent *event)
{
	AtlasRule  *rule = trial_run->rule;
	AtlasTrial *trial = trial_run->trial;
	List	   *hits;
	List	   *true_rules;
	ListCell   *cell;

	trial->looked_since = event->occurred_at;
	if (rule->event_name != NULL && !DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID,
																		  PointerGetDatum(event->name),
																		  PointerGetDatum(rule->event_name))))
		return;
	hits = atlas_rule_event_hits(NIL, event, rule);
	if (hits == NIL)
		return;
	trial->nevents++;
	(void) atlas_rule_run_evaluate(&trial_run->run, event, list_make1(rule), &true_rules);
	if (true_rules == NIL)
		return;
	trial->ntrue++;
	foreach(cell, hits)
		keep_hit(trial_run, lfirst(cell), event->name);
}

/* Takes the events that were read, the oldest first, with their related objects. */
static AtlasRuleEvent *
take_tried_events(const TrialRun *trial_run, int nevents)
{
	AtlasRuleEvent *events = palloc(sizeof(AtlasRuleEvent) * Max(nevents, 1));
	AtlasRuleEvent **related = palloc(sizeof(AtlasRuleEvent *) * Max(nevents, 1));
	int			nrelated = 0;

	for (int i = 0; i < nevents; i++)
	{
		AtlasEventFacts facts;

		atlas_event_facts_take(&facts, SPI_tuptable->vals[nevents - 1 - i], SPI_tuptable->tupdesc, 1);
		atlas_rule_event_take(&events[i], &facts);
		events[i].key.tenant = unconstify(text *, trial_run->rule->tenant);
		if (events[i].has_related && trial_run->rule->role != ATLAS_ROLE_PRIMARY)
			related[nrelated++] = &events[i];
	}
	atlas_rule_events_read_related(related, nrelated);
	return events;
}

/* Reads the next events and looks at them. Returns false if that were the last ones. */
static bool
try_some(TrialRun *trial_run)
{
	int			limit = Min(trial_run->left, EVENTS_AT_ONCE);
	Datum		values[] = {
		PointerGetDatum(trial_run->rule->tenant), UUIDPGetDatum(&trial_run->range->low),
		UUIDPGetDatum(&trial_run->high), Int64GetDatum(limit)
	};
	int			nevents = (int) atlas_execute(&select_newest, values, NULL, true, 0);
	SPITupleTable *table = SPI_tuptable;
	AtlasRuleEvent *events = take_tried_events(trial_run, nevents);

	for (int i = nevents - 1; i >= 0; i--)
	{
		AtlasTally *tally = atlas_rule_run_tally(&trial_run->run, trial_run->rule);

		CHECK_FOR_INTERRUPTS();
		try_event(trial_run, &events[i]);
		if (tally->fault != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg_internal("%s", tally->fault),
					 errhint("Make the condition simpler, or name the events that it is meant for.")));
		trial_run->left--;
		if (trial_run->left == 0 || trial_run->trial->nevents >= trial_run->range->enough)
		{
			trial_run->trial->is_cut = i > 0 || nevents == limit;
			break;
		}
	}
	if (nevents > 0)
		trial_run->high = events[0].key.id;
	SPI_freetuptable(table);
	return nevents == limit && !trial_run->trial->is_cut;
}

void
atlas_rule_try(AtlasRule *rule, const AtlasTrialRange *range, AtlasTrial *trial)
{
	TrialRun	trial_run = {.rule = rule,.range = range,.trial = trial};
	MemoryContext chunk = AllocSetContextCreate(CurrentMemoryContext, "atlas_events trial",
												ALLOCSET_DEFAULT_SIZES);
	bool		goes_on = true;

	memset(trial, 0, sizeof(*trial));
	trial_run.high = range->high;
	trial_run.left = range->most_events;
	trial_run.result = CurrentMemoryContext;
	atlas_rule_run_begin(&trial_run.run);
	while (goes_on)
	{
		MemoryContext old = MemoryContextSwitchTo(chunk);

		goes_on = try_some(&trial_run);
		MemoryContextSwitchTo(old);
		MemoryContextReset(chunk);
	}
	trial->nunknown = atlas_rule_run_tally(&trial_run.run, rule)->unknown;
	atlas_rule_run_end(&trial_run.run);
	MemoryContextDelete(chunk);
}

void
atlas_rule_try_new(AtlasRule *rule, AtlasTrial *trial)
{
	AtlasTrialRange range = {.most_events = MOST_EVENTS_OF_NEW_RULE,.enough = EVENTS_OF_NEW_RULE};

	memset(&range.high, 0xff, UUID_LEN);
	atlas_rule_try(rule, &range, trial);
}

/* A list of AtlasTrialHit is one of AtlasHit, with which each begins. */
List *
atlas_trial_matches(AtlasTrial *trial, const AtlasRule *rule)
{
	AtlasWindow window;
	const AtlasHit *before = NULL;
	List	   *matches = NIL;
	ListCell   *cell;

	atlas_window_init(&window, rule);
	list_sort(trial->hits, atlas_hit_compare);
	foreach(cell, trial->hits)
	{
		const AtlasHit *hit = lfirst(cell);

		if (before != NULL && atlas_compare_text(before->object_id, hit->object_id) != 0)
			atlas_window_clear(&window);
		if (atlas_window_add(&window, hit->occurred_at))
			matches = lappend(matches, lfirst(cell));
		before = hit;
	}
	list_sort(matches, atlas_hit_compare_events);
	return matches;
}
