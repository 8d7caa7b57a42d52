/*
 * estimate.h
 *		What a condition may do in an event without a look at its limits.
 */
#ifndef ATLAS_ESTIMATE_H
#define ATLAS_ESTIMATE_H

#include "utils/jsonb.h"

#include "conditions/condition.h"

/*
 * Raises ERRCODE_PROGRAM_LIMIT_EXCEEDED if the condition may compare very many values of the event with
 * each other, or copy very many bytes, at a time.
 */
extern void atlas_refuse_long_strides(Jsonb *event, const AtlasCondition *condition);

#endif							/* ATLAS_ESTIMATE_H */
