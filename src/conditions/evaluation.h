/*
 * evaluation.h
 *		Asking whether events satisfy conditions, within limits of time and memory.
 */
#ifndef ATLAS_EVALUATION_H
#define ATLAS_EVALUATION_H

#include "conditions/condition.h"
#include "conditions/event_facts.h"

typedef enum AtlasTruth
{
	ATLAS_FALSE,
	ATLAS_TRUE,
	ATLAS_UNKNOWN				/* such as a string compared with a number, or an error */
} AtlasTruth;

typedef struct AtlasEvaluation AtlasEvaluation;

/*
 * Begins to evaluate conditions, in a child of the current memory context. After an error it is
 * enough that this context is freed.
 */
extern AtlasEvaluation *atlas_evaluation_begin(void);

/*
 * The event that conditions are evaluated for from now on, which look at no more than the wanted
 * facts. Its values are copied.
 */
extern void atlas_evaluation_set_event(AtlasEvaluation *evaluation, const AtlasEventFacts *facts,
									   AtlasFactSet wanted);

/*
 * Evaluates a condition for the event. Raises ERRCODE_PROGRAM_LIMIT_EXCEEDED if the conditions
 * of this event take longer than 100 milliseconds, if one takes more than 64 MB, or if it might
 * do so at a time when it cannot be interrupted (estimate.h).
 */
extern AtlasTruth atlas_condition_evaluate(AtlasEvaluation *evaluation, const AtlasCondition *condition);

/* For how many ticks of 10 milliseconds conditions of this event have been evaluated so far. */
extern int	atlas_evaluation_ticks(void);

extern void atlas_evaluation_end(AtlasEvaluation *evaluation);

#endif							/* ATLAS_EVALUATION_H */
