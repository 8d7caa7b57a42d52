/*
 * rule_notes.h
 *		What is noted in the rows of rules: what was unknown, errors, that a rule is switched off, and that
 *		it must stay for a moment.
 */
#ifndef ATLAS_RULE_NOTES_H
#define ATLAS_RULE_NOTES_H

#include "nodes/pg_list.h"

#include "rules/rule.h"

/*
 * Adds what the tallies of these rules, of AtlasRule, have counted. Inside SPI_connect(), as the owner of
 * the extension, like the other one.
 */
extern void atlas_rules_count(const List *rules);

/*
 * Has nobody drop or enable the rule until the end of the transaction, or finds out why that cannot be. Inside
 * SPI_connect(), as the owner of the extension.
 */
extern AtlasRuleKept atlas_rule_keep(const AtlasRule *rule);

/* One that somebody has locked stays enabled, but this process does not evaluate it any more. */
extern void atlas_rule_switch_off(const AtlasRuleFault *fault);

#endif							/* ATLAS_RULE_NOTES_H */
