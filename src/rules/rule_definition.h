/*
 * rule_definition.h
 *		Making, dropping and enabling rules.
 */
#ifndef ATLAS_RULE_DEFINITION_H
#define ATLAS_RULE_DEFINITION_H

#include "utils/timestamp.h"

#include "rules/rule.h"

/* What a rule is to be, as it was given; NULL where nothing was. */
typedef struct AtlasRuleWish
{
	const text *name;
	const text *object_type;
	const text *event_name;
	JsonPath   *condition;
	bool		has_times;
	int			times;
	const Interval *within;
	const text *role;
	Oid			action;			/* InvalidOid: none */
	const text *channel;
	const Interval *cooldown;
	Oid			owner;			/* who makes the rule */
} AtlasRuleWish;

/*
 * Makes a rule of it that can be evaluated: with since at the beginning of time, and without an id. Adds
 * all that is wrong to the error. A rule that is only tried needs no name.
 */
extern void atlas_rule_find_problems(const AtlasRuleWish *wish, bool needs_name, AtlasRule *rule,
									 AtlasError *error);

/* The same, but raises PT400 with all that is wrong. */
extern void atlas_rule_check(const AtlasRuleWish *wish, bool needs_name, AtlasRule *rule);

/*
 * Writes the rule. Raises PT409 if the tenant has a rule of this name. This and the other
 * calls run inside SPI_connect(), as the owner of the extension.
 */
extern void atlas_rule_create(const AtlasRuleWish *wish, const AtlasRule *rule);

/* Drops a rule, or switches it on or off, on behalf of a role. */
extern void atlas_rule_drop(const text *tenant, const text *name, Oid role);
extern void atlas_rule_enable(const text *tenant, const text *name, bool is_enabled, Oid role);

#endif							/* ATLAS_RULE_DEFINITION_H */
