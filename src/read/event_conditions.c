/*
 * event_conditions.c
 *		Which events of the log satisfy a condition.
 *
 * The columns that the condition looks at are taken from the event's row, and nothing else is
 * fetched or decompressed. The row is read by an index, or else by a statement.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "read/event_conditions.h"
#include "utils/builtins.h"

#include "base/statement.h"
#include "conditions/evaluation.h"

static AtlasStatement select_facts = {
	.sql =
	"SELECT " ATLAS_FACT_COLUMNS
	"  FROM @extschema@.atlas_events e"
	" WHERE e.tenant_id OPERATOR(pg_catalog.=) $1 AND e.event_id OPERATOR(pg_catalog.=) $2",
	.nparameters = 2,
	.parameters = {TEXTOID, UUIDOID},
};

static const AtlasLogReaderColumn column_of_fact[ATLAS_NFACTS] = {
	[ATLAS_FACT_ICON] = ATLAS_READ_ICON,
	[ATLAS_FACT_NAME] = ATLAS_READ_NAME,
	[ATLAS_FACT_EVENT_ID] = ATLAS_READ_EVENT_ID,
	[ATLAS_FACT_PAYLOAD] = ATLAS_READ_PAYLOAD,
	[ATLAS_FACT_OBJECT_ID] = ATLAS_READ_OBJECT_ID,
	[ATLAS_FACT_EXTERNAL_ID] = ATLAS_READ_EXTERNAL_ID,
	[ATLAS_FACT_OBJECT_TYPE] = ATLAS_READ_OBJECT_TYPE,
	[ATLAS_FACT_OCCURRED_AT] = ATLAS_READ_OCCURRED_AT,
	[ATLAS_FACT_RECEIVED_AT] = ATLAS_READ_RECEIVED_AT,
	[ATLAS_FACT_DESCRIPTION] = ATLAS_READ_DESCRIPTION,
	[ATLAS_FACT_RELATED_OBJECTS] = ATLAS_READ_RELATED_OBJECTS,
};

struct AtlasEventConditions
{
	Datum		tenant;
	const text *name;			/* NULL: any */
	const AtlasCondition *condition;	/* NULL: none */
	AtlasEvaluation *evaluation;
	bool		is_direct;
	AtlasRowFinder rows;
};

AtlasEventConditions *
atlas_event_conditions_begin(const AtlasEventTables *tables, const text *tenant, const text *name,
							 const AtlasCondition *condition)
{
	AtlasEventConditions *conditions = palloc0(sizeof(AtlasEventConditions));

	conditions->tenant = PointerGetDatum(tenant);
	conditions->name = name;
	conditions->condition = condition;
	if (condition != NULL)
		conditions->evaluation = atlas_evaluation_begin();
	conditions->is_direct = tables->is_direct;
	atlas_row_finder_begin(&conditions->rows, tables->log, &atlas_log_by_id, tables->snapshot);
	return conditions;
}

/* Is the condition true for an event with these facts? */
static bool
is_true_for(AtlasEventConditions *conditions, const AtlasEventFacts *facts)
{
	atlas_evaluation_set_event(conditions->evaluation, facts, conditions->condition->facts);
	return atlas_condition_evaluate(conditions->evaluation, conditions->condition) == ATLAS_TRUE;
}

bool
atlas_event_conditions_hold(AtlasEventConditions *conditions, AtlasIndexReader *row)
{
	AtlasEventFacts facts;

	if (!atlas_row_has_name(row, conditions->name))
		return false;
	if (conditions->condition == NULL)
		return true;
	for (int i = 0; i < ATLAS_NFACTS; i++)
		if (atlas_has_fact(conditions->condition->facts, i))
			facts.values[i] = atlas_index_reader_value(row, column_of_fact[i], &facts.nulls[i]);
	return is_true_for(conditions, &facts);
}

/* Asks about the event of a row that a statement has read. */
static bool
hold_for_result(AtlasEventConditions *conditions, HeapTuple row, TupleDesc tupdesc)
{
	AtlasEventFacts facts;

	atlas_event_facts_take(&facts, row, tupdesc, 1);
	if (conditions->name != NULL &&
		!DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID,
											  facts.values[ATLAS_FACT_NAME],
											  PointerGetDatum(conditions->name))))
		return false;
	return conditions->condition == NULL || is_true_for(conditions, &facts);
}

/* Reads the event by a statement, and asks about it. */
static bool
hold_by_statement(AtlasEventConditions *conditions, const pg_uuid_t *event_id)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[] = {conditions->tenant, UUIDPGetDatum(event_id)};
	uint64		nrows = atlas_execute(&select_facts, values, NULL, true, 0);
	SPITupleTable *table = SPI_tuptable;
	bool		result;

	MemoryContextSwitchTo(caller);
	result = nrows > 0 && hold_for_result(conditions, table->vals[0], table->tupdesc);
	SPI_freetuptable(table);
	return result;
}

bool
atlas_event_conditions_hold_for(AtlasEventConditions *conditions, const pg_uuid_t *event_id)
{
	AtlasIndexReader *row;

	if (conditions->is_direct)
		conditions->is_direct = atlas_row_finder_find(&conditions->rows, &conditions->tenant,
													  event_id, &row);
	if (!conditions->is_direct)
		return hold_by_statement(conditions, event_id);
	return row != NULL && atlas_event_conditions_hold(conditions, row);
}

void
atlas_event_conditions_end(AtlasEventConditions *conditions)
{
	atlas_row_finder_end(&conditions->rows);
	if (conditions->evaluation != NULL)
		atlas_evaluation_end(conditions->evaluation);
	pfree(conditions);
}
