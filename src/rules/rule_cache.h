/*
 * rule_cache.h
 *		The rules that are in effect, tenant by tenant, as this process remembers them.
 */
#ifndef ATLAS_RULE_CACHE_H
#define ATLAS_RULE_CACHE_H

#include "nodes/pg_list.h"

#include "rules/rule.h"

/* The rules of a tenant. */
typedef struct AtlasTenantRules AtlasTenantRules;

/* Watches for changes of the rules; from _PG_init(). */
extern void atlas_rule_cache_init(void);

/*
 * Forgets what does not hold any more. What the other calls return stays until the next call of
 * this one. All of them run inside SPI_connect(), as the owner of the extension.
 */
extern void atlas_rule_cache_refresh(void);

/* Do the tenants that were asked for take so much memory that others are to be asked for after a refresh? */
extern bool atlas_rule_cache_is_large(void);

/* A rule could not be switched off, because somebody has locked it: its condition is not to be evaluated. */
extern void atlas_rule_cache_note_fault(const AtlasRuleFault *fault);

/* The rules of a tenant; NULL if there are none. */
extern AtlasTenantRules *atlas_rules_of_tenant(const text *tenant);

/* Adds the rules for events of this name of objects of this type to a list of AtlasRule. */
extern List *atlas_rules_add(List *list, AtlasTenantRules *rules, const text *object_type, const text *event_name);

/* Are there rules for which related objects of events of this name count? */
extern bool atlas_rules_count_related(AtlasTenantRules *rules, const text *event_name);

#endif							/* ATLAS_RULE_CACHE_H */
