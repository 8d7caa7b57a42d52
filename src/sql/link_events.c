/*
 * link_events.c
 *		Linking by hand: atlas_link_events() and atlas_retry_failed().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/guc.h"

#include "base/identity.h"
#include "base/retry.h"
#include "base/subtransaction.h"
#include "base/tenant.h"
#include "base/wakeup.h"
#include "link/link_batch.h"
#include "link/retry_unresolved.h"
#include "rules/rule_actions.h"
#include "rules/rule_begin.h"
#include "store/queue.h"
#include "work/work_batch.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(atlas_link_events);
PG_FUNCTION_INFO_V1(atlas_retry_failed);

/* Makes the documents of up to so many events, and evaluates rules, in the transaction of the caller. */
static void
work_on_events(void *argument)
{
	int			max_events = *(const int *) argument;
	AtlasCursor cursor = {.backlog = ATLAS_TO_WORK_ON,.context = CurrentMemoryContext};
	int			left;
	int			claimed;
	int			limit;

	/* Where there are no linkers, rules begin here. */
	while (!atlas_linking && atlas_rules_begin())
		CHECK_FOR_INTERRUPTS();
	do
	{
		CHECK_FOR_INTERRUPTS();
		limit = Min(max_events, ATLAS_MAX_WORK_BATCH);
		claimed = atlas_work_batch(&cursor, limit, &left);
		max_events -= claimed;
	} while (claimed == limit && max_events > 0);
}

/* A lock that is in the way of documents undoes no link. */
static void
work_if_free(int max_events)
{
	ErrorData  *error = atlas_try(work_on_events, &max_events);

	if (error != NULL && !atlas_is_lock_conflict(error))
		ReThrowError(error);
	if (error != NULL)
		ereport(NOTICE,
				(errmsg("documents are not made now, because something is locked: %s", error->message)));
}

/* Links batch by batch, in the transaction of the caller. */
Datum
atlas_link_events(PG_FUNCTION_ARGS)
{
	int			max_events = PG_ARGISNULL(0) ? 1000 : PG_GETARG_INT32(0);
	AtlasCursor cursor = {.context = CurrentMemoryContext};
	AtlasLinkCounts counts = {0};
	AtlasIdentity saved;
	int			left = max_events;
	int			guc_level;
	int			claimed;
	int			limit;

	if (max_events < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_events must be at least 1")));

	atlas_refuse_code_of_owner();
	SPI_connect();
	atlas_become_owner(&saved);
	/* Like the linker, this does not wait for the tables of objects. */
	guc_level = NewGUCNestLevel();
	if (LockTimeout == 0)
		(void) set_config_option("lock_timeout", "1s", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	do
	{
		CHECK_FOR_INTERRUPTS();
		limit = Min(left, atlas_batch_size);
		claimed = atlas_link_batch(&cursor, limit, &counts);
		left -= claimed;
	} while (claimed == limit && left > 0);
	(void) atlas_retry_unresolved(atlas_batch_size);
	work_if_free(max_events);
	AtEOXact_GUC(true, guc_level);
	atlas_return(&saved);
	SPI_finish();
	PG_RETURN_INT64(counts.linked);
}

/* Actions are due at once. The events go to the end of the queue, as if they had been submitted now. */
Datum
atlas_retry_failed(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *event_id = PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0);
	AtlasIdentity saved;
	uint64		count;

	SPI_connect();
	atlas_become_owner(&saved);
	count = atlas_queue_retry_failed(event_id) + atlas_actions_retry_failed(event_id);
	atlas_return(&saved);
	SPI_finish();
	atlas_wake_at_commit(0, (int) Min(count, PG_INT32_MAX));
	PG_RETURN_INT64(count);
}
