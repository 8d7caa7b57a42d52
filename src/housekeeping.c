/*
 * housekeeping.c
 *		What a linker does besides linking: it makes the partitions of the coming months.
 *
 * That can fail for reasons that have nothing to do with linking: an event trigger that
 * forbids DDL, an owner of the extension who may not create tables, a lock that somebody
 * holds. So it is done in a subtransaction, for each table, in a transaction of its own,
 * and waits for no lock for long. The error goes to the server log, and to the slot of
 * the database in shared memory, from which the status view has it. It is tried again
 * with each round of the linker, and logged again when it is another one, or once an hour.
 */
#include "postgres.h"

#include "attempt.h"
#include "housekeeping.h"
#include "partition.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define LOCK_TIMEOUT "100ms"
#define LOG_AGAIN_SECONDS 3600

/* The arguments of make_ahead(). */
typedef struct Coming
{
	AtlasPartitioned table;
	TimestampTz now;
} Coming;

static void
make_ahead(void *argument)
{
	const Coming *coming = argument;

	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	atlas_partition_ahead(coming->table, coming->now);
}

static void
log_problem(const ErrorData *error)
{
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("partitions of the coming months could not be made: %s", error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("Linking goes on. It is tried again every atlas_events.naptime, and this is said once an hour."),
			 error->context ? errcontext("%s", error->context) : 0));
}

void
atlas_keep_house(AtlasDatabase *slot, TimestampTz now)
{
	static const AtlasPartitioned tables[] = {ATLAS_LOG, ATLAS_LINKS};
	ErrorData  *problem = NULL;

	for (int i = 0; i < lengthof(tables); i++)
	{
		Coming		coming = {tables[i], now};
		ErrorData  *error = atlas_try(make_ahead, &coming);

		if (problem == NULL)
			problem = error;
	}
	if (atlas_shmem_note_problem(slot, problem != NULL ? problem->message : NULL, now,
								 LOG_AGAIN_SECONDS))
		log_problem(problem);
}

char *
atlas_housekeeping_advice(const AtlasDatabase *slot)
{
	if (slot->problem[0] == '\0')
		return NULL;
	return psprintf("The partitions of the coming months cannot be made, see the server log: %s",
					slot->problem);
}
