/*
 * tables.c
 *		The table of the extension's tables.
 *
 * Whatever deals with all tables reads this one: finding them, making their partitions,
 * and the function atlas_tables(), which a test compares with the catalog. So a new
 * table is not forgotten by any of them.
 */
#include "postgres.h"

#include "base/tables.h"

const AtlasTableFacts atlas_tables[ATLAS_NTABLES] = {
	[ATLAS_EVENTS] = {
		.name = "atlas_events",
		.tenant_column = "tenant_id",
		.is_partitioned = true,
		.is_dumped = true,
		.is_published = true,
		.erased_by = "object_type, object_id",
		.distributed_by = "tenant_id",
	},
	[ATLAS_EVENT_QUEUE] = {
		.name = "atlas_event_queue",
		.tenant_column = "tenant_id",
		.is_dumped = true,
		.is_published = true,
		.erased_by = "event_id",
		.distributed_by = "tenant_id",
	},
	[ATLAS_EVENT_LINKS] = {
		.name = "atlas_event_links",
		.tenant_column = "tenant_id",
		.is_partitioned = true,
		.is_dumped = true,
		.is_published = true,
		.erased_by = "object_type, object_id",
		.distributed_by = "tenant_id",
	},
	[ATLAS_EVENT_UNRESOLVED] = {
		.name = "atlas_event_unresolved",
		.tenant_column = "tenant_id",
		.is_dumped = true,
		.is_published = true,
		.erased_by = "object_type, object_id, external_id",
		.distributed_by = "tenant_id",
	},
	[ATLAS_EVENT_KEYS] = {
		.name = "atlas_event_keys",
		.tenant_column = "tenant_id",
		.is_dumped = true,
		.is_published = true,
		.erased_by = "event_id",
		.distributed_by = "tenant_id",
	},
	/* The registry names tables by their OIDs, which are others on a subscriber. */
	[ATLAS_OBJECT_TYPES] = {
		.name = "atlas_object_types",
		.is_dumped = true,
	},
	/* A subscriber whose API refuses requests notes its own, with numbers of its own. */
	[ATLAS_REJECTIONS] = {
		.name = "atlas_rejections",
		.tenant_column = "tenant_id",
		.is_dumped = true,
		.erased_by = "details, request",
		.distributed_by = "tenant_id",
	},
	[ATLAS_EVENT_WORK] = {
		.name = "atlas_event_work",
		.tenant_column = "tenant_id",
		.is_dumped = true,
		.erased_by = "event_id",
		.distributed_by = "tenant_id",
	},
	/* Documents are made where the events are. */
	[ATLAS_EVENT_SEARCH] = {
		.name = "atlas_event_search",
		.tenant_column = "tenant_id",
		.is_partitioned = true,
		.is_dumped = true,
		.is_published = true,
		.erased_by = "event_id",
		.distributed_by = "tenant_id",
	},
	/* Whether documents are missing is a fact about the documents, which are dumped. */
	[ATLAS_SEARCH_GAPS] = {
		.name = "atlas_search_gaps",
		.is_dumped = true,
	},
	[ATLAS_SEARCH_REBUILD] = {
		.name = "atlas_search_rebuild",
		.is_dumped = true,
	},
	/* Rules are evaluated where the events are linked, and a subscriber gets what they matched. */
	[ATLAS_RULES] = {
		.name = "atlas_rules",
		.tenant_column = "tenant_id",
		.is_dumped = true,
		.distributed_by = "tenant_id",
	},
	[ATLAS_RULE_HITS] = {
		.name = "atlas_rule_hits",
		.tenant_column = "tenant_id",
		.is_partitioned = true,
		.is_dumped = true,
		.erased_by = "event_id, object_id",
		.distributed_by = "tenant_id",
	},
	[ATLAS_RULE_MATCHES] = {
		.name = "atlas_rule_matches",
		.tenant_column = "tenant_id",
		.is_partitioned = true,
		.is_dumped = true,
		.is_published = true,
		.erased_by = "event_id, object_type, object_id",
		.distributed_by = "tenant_id",
	},
	/* A subscriber does not act. */
	[ATLAS_RULE_ACTIONS] = {
		.name = "atlas_rule_actions",
		.tenant_column = "tenant_id",
		.is_dumped = true,
		.erased_by = "event_id, object_id",
		.distributed_by = "tenant_id",
	},
	[ATLAS_RULE_COOLDOWNS] = {
		.name = "atlas_rule_cooldowns",
		.tenant_column = "tenant_id",
		.is_dumped = true,
		.erased_by = "object_id",
		.distributed_by = "tenant_id",
	},
	[ATLAS_LINKER_STATE] = {
		.name = "atlas_linker_state",
	},
};
