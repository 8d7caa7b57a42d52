/*
 * rule_terms.h
 *		The words and numbers in which a rule says what it needs.
 */
#ifndef ATLAS_RULE_TERMS_H
#define ATLAS_RULE_TERMS_H

#include "access/htup.h"
#include "access/tupdesc.h"

#include "rules/rule.h"

#define ATLAS_MAX_TIMES 1000
#define ATLAS_MAX_WITHIN_DAYS 36500

/* The linker has the rules of a tenant in memory, and goes through them for each event. */
#define ATLAS_MAX_RULES 1000	/* of a tenant */
#define ATLAS_MAX_CONDITION_SIZE 32768	/* bytes of the compiled path */

/* The role that a word stands for. Returns false if it stands for none. */
extern bool atlas_rule_role(const text *word, AtlasRuleRole *role);

extern const char *atlas_rule_role_name(AtlasRuleRole role);

/*
 * The length of a time in microseconds, a day having 24 hours. 0 if it is not one that can be
 * taken: it has months, whose length differs, or is not positive, or too long.
 */
extern int64 atlas_rule_microseconds(const Interval *interval);

/*
 * The role that owns a rule, from the columns owner, owner_id and owner_system of its row, counted from this one on. InvalidOid
 * if it has been dropped. A role that has got its name since then is another one.
 */
extern Oid	atlas_rule_owner(HeapTuple row, TupleDesc tupdesc, int column);

/* Do the two go together, within being 0 if there is none? */
extern bool atlas_rule_times_are_valid(int times, int64 within);

#endif							/* ATLAS_RULE_TERMS_H */
