/*
 * condition.h
 *		Conditions on events: SQL/JSON paths, of which only a safe part of the language is
 *		accepted.
 *
 * A path that is a predicate is a condition as it stands; any other is one if it finds
 * something. What is accepted is the same with every version of PostgreSQL: what 15 has,
 * without what can take hours or gigabytes on a few kilobytes (.** and like_regex), without
 * variables, and without .datetime() and its like, which depend on settings.
 */
#ifndef ATLAS_CONDITION_H
#define ATLAS_CONDITION_H

#include "utils/jsonpath.h"

#include "conditions/event_facts.h"
#include "event/error.h"

/* A path that was checked. */
typedef struct AtlasCondition
{
	JsonPath   *path;
	bool		is_predicate;
	bool		compares_paths; /* two paths are compared, each of which may find many values */
	bool		repeats_values; /* a list of subscripts, or signs before signs, can repeat values */
	bool		makes_values;	/* .keyvalue() makes values that the event does not have */
	AtlasFactSet facts;			/* what it looks at */
} AtlasCondition;

/*
 * Checks a path, which must stay where it is. Adds a problem of this field to the error for
 * each piece of it that is not accepted; then the condition is not to be used.
 */
extern void atlas_condition_check(JsonPath *path, const char *field, AtlasError *error,
								  AtlasCondition *condition);

/* The same, but raises PT400 with all the problems. */
extern void atlas_condition_require(JsonPath *path, const char *field, AtlasCondition *condition);

#endif							/* ATLAS_CONDITION_H */
