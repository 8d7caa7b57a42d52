/*
 * atlas_events.c
 *		Module entry: settings, callbacks, and, when the library is preloaded,
 *		shared memory and the launcher.
 *
 * atlas_events puts events on the timelines of customer-support objects. One call stores
 * an event, see src/submit/submit.c. A background worker links the objects that are
 * related to it, see src/worker/linker.c and src/link/link_batch.c. If the library is not
 * preloaded everything works but the workers.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "base/extension.h"
#include "base/setting_guard.h"
#include "base/shmem.h"
#include "base/tenant.h"
#include "base/wakeup.h"
#include "event/validation.h"
#include "link/link_batch.h"
#include "link/put_off.h"
#include "link/unresolved.h"
#include "objects/registry.h"
#include "read/index_reader.h"
#include "rules/action_run.h"
#include "rules/rule_cache.h"
#include "search/document.h"
#include "store/partitions.h"
#include "store/rows.h"
#include "store/rule_flags.h"
#include "store/search_gap.h"
#include "store/work.h"
#include "submit/submit.h"
#include "worker/launcher.h"
#include "worker/make_way.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

#define SECONDS_A_YEAR (365 * 86400)

/* The settings that limit events and calls. */
static void
define_limits(void)
{
	DefineCustomIntVariable("atlas_events.max_event_size",
							"Largest event that is accepted.",
							"Counts the text of all fields and of the payload as it is read back; of JSON, the whole request.",
							&atlas_max_event_size, 256 * 1024, 1024, 64 * 1024 * 1024,
							PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.max_related_objects",
							"Most related objects that an event may have.",
							NULL,
							&atlas_max_related_objects, 100, 0, 10000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.max_batch_size",
							"Most events that one call of submit_events() may have.",
							NULL,
							&atlas_max_batch_size, 10000, 1, 1000000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.oldest_event",
							"How long ago an event may have occurred.",
							NULL,
							&atlas_oldest_event, 10 * SECONDS_A_YEAR, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.max_clock_skew",
							"How far ahead of the server's clock an event may have occurred.",
							NULL,
							&atlas_max_clock_skew, 300, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
}

/* The settings of linking. */
static void
define_linking(void)
{
	DefineCustomBoolVariable("atlas_events.linking",
							 "Whether workers link events.",
							 "Off for restores and maintenance: events are accepted and wait.",
							 &atlas_linking, true,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("atlas_events.search",
							 "Whether documents are made by which events are found.",
							 "In effect only where the library is preloaded. Events that are stored meanwhile are found after atlas_rebuild_search().",
							 &atlas_search, true,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.search_text_limit",
							"Most text of an event that is cut into words.",
							"What is over the limit is not found by its words.",
							&atlas_search_text_limit, 16 * 1024, 0, 1024 * 1024,
							PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomBoolVariable("atlas_events.direct_access",
							 "Whether tables and indexes are used directly where a statement would do no more.",
							 "Off for tables that are kept elsewhere, and for tools that watch statements.",
							 &atlas_direct_access, true,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.batch_size",
							"Most events that are linked in one transaction.",
							NULL,
							&atlas_batch_size, 1000, 1, 100000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.max_attempts",
							"Failed attempts at linking after which an event is FAILED.",
							NULL,
							&atlas_max_attempts, 5, 1, 1000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.relink_window",
							"How long references that were not found are looked up again.",
							"Zero looks them up once.",
							&atlas_relink_window, 86400, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
}

/* The settings of the workers. */
static void
define_workers(void)
{
	DefineCustomIntVariable("atlas_events.poll_interval",
							"Longest time for which a running linker waits before it looks for events.",
							"Commits wake it at once; prepared transactions and restores do not.",
							&atlas_poll_interval, 1000, 10, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.idle_timeout",
							"Time without events after which a linker exits.",
							NULL,
							&atlas_idle_timeout, 2000, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.naptime",
							"Time after which the launcher visits every database with the extension.",
							NULL,
							&atlas_naptime, 60, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.max_workers",
							"Most linkers and action workers that run at a time, over all databases.",
							"Each takes one of max_worker_processes, and so does the launcher.",
							&atlas_max_workers, 4, 1, 1024,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* The settings of rules. */
static void
define_rules(void)
{
	DefineCustomIntVariable("atlas_events.action_timeout",
							"Longest time that the action of a rule may take.",
							"The attempt fails then, and is made again later. Zero is any time.",
							&atlas_action_timeout, 10000, 0, INT_MAX / 2,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("atlas_events.rule_match_limit",
							"Matches of a rule with an action within a minute, after which it is switched off.",
							"So that a rule cannot feed itself for ever. Zero is any number.",
							&atlas_rule_match_limit, 1000, 0, INT_MAX - 1,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* Settings that were made before the library was loaded are checked first. */
void
_PG_init(void)
{
	List	   *without_right = atlas_settings_without_right();

	DefineCustomStringVariable("atlas_events.tenant",
							   "The tenant that this session acts for.",
							   "Events, objects and timelines of other tenants are not seen.",
							   &atlas_tenant_setting, "",
							   PGC_SUSET, 0, NULL, atlas_settings_tenant_changed, NULL);
	define_limits();
	define_linking();
	define_workers();
	define_rules();
	MarkGUCPrefixReserved("atlas_events");
	atlas_settings_refuse(without_right);

	atlas_extension_init();
	atlas_partition_init();
	atlas_object_type_init();
	atlas_search_gap_init();
	atlas_rule_flags_init();
	atlas_rule_cache_init();
	atlas_index_reader_init();

	if (process_shared_preload_libraries_in_progress)
	{
		atlas_shmem_init();
		atlas_wakeup_init();
		atlas_make_way_init();
		if (!IsBinaryUpgrade)
			atlas_launcher_register();
	}
}
