/*
 * comparisons.h
 *		How many values a path may compare with each other in an event.
 */
#ifndef ATLAS_COMPARISONS_H
#define ATLAS_COMPARISONS_H

#include "utils/jsonb.h"

#include "conditions/condition.h"

/*
 * Raises ERRCODE_PROGRAM_LIMIT_EXCEEDED if a comparison of two paths may compare more than some
 * million pairs of values at a time.
 */
extern void atlas_refuse_many_comparisons(Jsonb *event,
										  const AtlasCondition *condition);

#endif							/* ATLAS_COMPARISONS_H */
