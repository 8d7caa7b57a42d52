/*
 * rule_notes.h
 *		What is noted in the rows of rules: what was unknown, errors, and that a rule is switched off.
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

/* One that somebody has locked stays enabled, but this process does not evaluate it any more. */
extern void atlas_rule_switch_off(const AtlasRuleFault *fault);

#endif							/* ATLAS_RULE_NOTES_H */
