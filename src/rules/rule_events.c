/*
 * rule_events.c
 *		Events as rules look at them: what conditions see, and the objects that count.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/compat.h"
#include "base/statement.h"
#include "rules/rule_events.h"

/* Index Cond on (tenant_id, event_id) of the links, in the partitions that have the range only. */
static AtlasStatement select_related = {
	.sql =
	"SELECT k.n::pg_catalog.int4, l.object_type, l.object_id"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY"
	"             AS k (tenant_id, event_id, n),"
	"       LATERAL (SELECT l.object_type, l.object_id FROM @extschema@.atlas_event_links l"
	"                 WHERE " ATLAS_IS_KEY("l")
	"                   AND l.event_id OPERATOR(pg_catalog.>=) $3"
	"                   AND l.event_id OPERATOR(pg_catalog.<=) $4 OFFSET 0) l"
	" ORDER BY k.n",
	.nparameters = ATLAS_KEYS_NPARAMETERS + 2,
	.parameters = {ATLAS_KEYS_PARAMETERS, UUIDOID, UUIDOID},
};

void
atlas_rule_event_take(AtlasRuleEvent *event, const AtlasEventFacts *facts)
{
	event->facts = *facts;
	event->key.id = *DatumGetUUIDP(facts->values[ATLAS_FACT_EVENT_ID]);
	event->primary.object_type = DatumGetTextPP(facts->values[ATLAS_FACT_OBJECT_TYPE]);
	event->primary.object_id = DatumGetTextPP(facts->values[ATLAS_FACT_OBJECT_ID]);
	event->name = DatumGetTextPP(facts->values[ATLAS_FACT_NAME]);
	event->occurred_at = DatumGetTimestampTz(facts->values[ATLAS_FACT_OCCURRED_AT]);
	event->received_at = DatumGetTimestampTz(facts->values[ATLAS_FACT_RECEIVED_AT]);
	event->has_related = !facts->nulls[ATLAS_FACT_RELATED_OBJECTS];
	event->related = NULL;
	event->nrelated = 0;
	event->is_left = false;
}

/* Takes the objects of one event, which begin with this row of the result; returns the row behind them. */
static uint64
take_related_objects(AtlasRuleEvent *event, int number, uint64 row)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	uint64		end = row;
	bool		isnull;

	while (end < SPI_processed &&
		   DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[end], tupdesc, 1, &isnull)) == number)
		end++;
	event->nrelated = (int) (end - row);
	event->related = palloc(sizeof(AtlasRuleObject) * Max(event->nrelated, 1));
	for (int i = 0; row < end; i++, row++)
	{
		CHECK_FOR_INTERRUPTS();
		event->related[i].object_type = atlas_result_text(SPI_tuptable->vals[row], tupdesc, 2);
		event->related[i].object_id = atlas_result_text(SPI_tuptable->vals[row], tupdesc, 3);
	}
	return end;
}

void
atlas_rule_events_read_related(AtlasRuleEvent **events, int nevents)
{
	AtlasEventKey *keys = palloc(sizeof(AtlasEventKey) * Max(nevents, 1));
	Datum		values[ATLAS_KEYS_NPARAMETERS + 2];
	uint64		row = 0;

	if (nevents == 0)
		return;
	for (int i = 0; i < nevents; i++)
		keys[i] = events[i]->key;
	atlas_event_keys_values(keys, nevents, values);
	values[ATLAS_KEYS_NPARAMETERS] = UUIDPGetDatum(&keys[0].id);
	values[ATLAS_KEYS_NPARAMETERS + 1] = UUIDPGetDatum(&keys[nevents - 1].id);
	(void) atlas_execute_now(&select_related, values);
	for (int i = 0; i < nevents; i++)
		row = take_related_objects(events[i], i + 1, row);
	SPI_freetuptable(SPI_tuptable);
}

/* Adds a hit if the object is of the type of the rule. */
static List *
add_hit(List *hits, const AtlasRuleEvent *event, AtlasRule *rule, const AtlasRuleObject *object)
{
	AtlasHit   *hit;

	CHECK_FOR_INTERRUPTS();
	if (atlas_compare_text(object->object_type, rule->object_type) != 0)
		return hits;
	hit = palloc(sizeof(AtlasHit));
	hit->rule = rule;
	hit->object_id = object->object_id;
	hit->event_id = event->key.id;
	hit->occurred_at = event->occurred_at;
	hit->depth = event->key.depth;
	return lappend(hits, hit);
}

List *
atlas_rule_event_hits(List *hits, const AtlasRuleEvent *event, AtlasRule *rule)
{
	if (event->occurred_at < rule->since || event->received_at < rule->since)
		return hits;
	if (rule->role != ATLAS_ROLE_RELATED)
		hits = add_hit(hits, event, rule, &event->primary);
	for (int i = 0; i < event->nrelated && rule->role != ATLAS_ROLE_PRIMARY; i++)
		hits = add_hit(hits, event, rule, &event->related[i]);
	return hits;
}
