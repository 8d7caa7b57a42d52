/*
 * evaluation.c
 *		Asking whether events satisfy conditions, within limits of time and memory.
 *
 * The event is made once, and then PostgreSQL's own functions evaluate one condition after the
 * other, in a memory context that is emptied each time. What they raise although they are
 * silent, such as an error about the depth of the stack, is passed on, unless it stands for one of
 * our limits: they have no effects that a subtransaction would have to undo.
 */
#include "postgres.h"

#include "conditions/estimate.h"
#include "conditions/evaluation.h"
#include "conditions/limits.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

struct AtlasEvaluation
{
	Jsonb	   *variables;		/* none */
	Jsonb	   *event;
	bool		is_armed;
	MemoryContext context;		/* of all of this */
	MemoryContext event_context;
	MemoryContext work_context;
	MemoryContextCallback on_free;
};

/* Called when the memory is freed: at the end, or after an error. */
static void
evaluation_freed(void *arg)
{
	if (((AtlasEvaluation *) arg)->is_armed)
		atlas_limits_disarm();
}

AtlasEvaluation *
atlas_evaluation_begin(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events conditions",
												  ALLOCSET_SMALL_SIZES);
	AtlasEvaluation *evaluation = MemoryContextAllocZero(context, sizeof(AtlasEvaluation));
	JsonbContainer *none;

	evaluation->context = context;
	evaluation->event_context = AllocSetContextCreate(context, "atlas_events event",
													  ALLOCSET_DEFAULT_SIZES);
	evaluation->work_context = AllocSetContextCreate(context, "atlas_events condition",
													 ALLOCSET_DEFAULT_SIZES);
	evaluation->variables = MemoryContextAllocZero(context, offsetof(Jsonb, root) + offsetof(JsonbContainer, children));
	SET_VARSIZE(evaluation->variables, offsetof(Jsonb, root) + offsetof(JsonbContainer, children));
	none = &evaluation->variables->root;
	none->header = JB_FOBJECT;
	evaluation->on_free.func = evaluation_freed;
	evaluation->on_free.arg = evaluation;
	MemoryContextRegisterResetCallback(context, &evaluation->on_free);
	return evaluation;
}

void
atlas_evaluation_set_event(AtlasEvaluation *evaluation, const AtlasEventFacts *facts,
						   AtlasFactSet wanted)
{
	MemoryContext old;

	MemoryContextReset(evaluation->event_context);
	old = MemoryContextSwitchTo(evaluation->event_context);
	evaluation->event = atlas_event_as_jsonb(facts, wanted);
	MemoryContextSwitchTo(old);
	atlas_limits_next_event();
}

/* Calls PostgreSQL's function. It returns null for what is unknown. */
static AtlasTruth
call_path_function(AtlasEvaluation *evaluation, const AtlasCondition *condition)
{
	LOCAL_FCINFO(fcinfo, 4);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 4, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = JsonbPGetDatum(evaluation->event);
	fcinfo->args[1].value = PointerGetDatum(condition->path);
	fcinfo->args[2].value = JsonbPGetDatum(evaluation->variables);
	fcinfo->args[3].value = BoolGetDatum(true);
	for (int i = 0; i < 4; i++)
		fcinfo->args[i].isnull = false;
	result = condition->is_predicate ? jsonb_path_match(fcinfo) : jsonb_path_exists(fcinfo);
	if (fcinfo->isnull)
		return ATLAS_UNKNOWN;
	return DatumGetBool(result) ? ATLAS_TRUE : ATLAS_FALSE;
}

/* Raises the error about a limit. */
atlas_noreturn static void
raise_limit(AtlasLimit limit)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 limit == ATLAS_TIME_IS_UP ?
			 errmsg("a condition takes longer than %d ms for one event", ATLAS_CONDITION_TIME) :
			 errmsg("a condition takes more than %d MB for one event", ATLAS_CONDITION_MEMORY),
			 errhint("Make the condition simpler, or name the events that it is meant for.")));
}

AtlasTruth
atlas_condition_evaluate(AtlasEvaluation *evaluation, const AtlasCondition *condition)
{
	MemoryContext old = CurrentMemoryContext;
	AtlasTruth	result = ATLAS_UNKNOWN;

	if (!evaluation->is_armed)
	{
		atlas_limits_arm();
		evaluation->is_armed = true;
	}
	MemoryContextSwitchTo(evaluation->work_context);
	atlas_limits_watch(evaluation->work_context);
	PG_TRY();
	{
		atlas_refuse_long_strides(evaluation->event, condition);
		result = call_path_function(evaluation, condition);
	}
	PG_CATCH();
	{
		AtlasLimit	limit = atlas_limits_unwatch();

		MemoryContextSwitchTo(old);
		if (limit == ATLAS_WITHIN_LIMITS || geterrcode() != ERRCODE_STATEMENT_TOO_COMPLEX)
			PG_RE_THROW();
		FlushErrorState();
		raise_limit(limit);
	}
	PG_END_TRY();
	(void) atlas_limits_unwatch();
	MemoryContextSwitchTo(old);
	MemoryContextReset(evaluation->work_context);
	return result;
}

int
atlas_evaluation_ticks(void)
{
	return atlas_limits_ticks();
}

void
atlas_evaluation_end(AtlasEvaluation *evaluation)
{
	MemoryContextDelete(evaluation->context);
}
