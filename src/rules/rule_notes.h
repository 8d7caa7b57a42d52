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

/* A rule that is to be switched off, and why. */
typedef struct AtlasRuleFault
{
	int64		rule_id;
	const text *tenant;
	const char *reason;
} AtlasRuleFault;

extern void atlas_rule_switch_off(const AtlasRuleFault *fault);

#endif							/* ATLAS_RULE_NOTES_H */
