/*
 * housekeeping.c
 *		What a linker does besides linking: it makes the partitions of the coming months,
 *		and checks who owns the partitions.
 *
 * This can fail for reasons that have nothing to do with linking: an event trigger forbids
 * DDL, the owner of the extension may not create tables, or somebody holds a lock. So the
 * tasks have a transaction of their own, and each has a subtransaction and waits for no
 * lock for long. A problem is written to the server log, and into the slot of the database
 * in shared memory, where the status view finds it. Each round of the linker looks again,
 * and logs the problem again if it is another one, or once an hour.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/extension.h"
#include "base/statement.h"
#include "base/subtransaction.h"
#include "base/tables.h"
#include "store/partitions.h"
#include "worker/housekeeping.h"

#define LOCK_TIMEOUT "100ms"
#define LOG_AGAIN_SECONDS 3600

/*
 * Finds a partition of another owner, for example one that was in a dump. Superusers are
 * trusted in any case. The catalog is read as it is, and no partition is locked.
 */
static AtlasStatement select_other_owner = {
	.sql =
	"WITH RECURSIVE partition (relid) AS ("
	"       SELECT inhrelid FROM pg_catalog.pg_inherits"
	"        WHERE inhparent OPERATOR(pg_catalog.=) $1"
	"        UNION ALL"
	"       SELECT i.inhrelid FROM pg_catalog.pg_inherits i, partition p"
	"        WHERE i.inhparent OPERATOR(pg_catalog.=) p.relid)"
	" SELECT c.oid::pg_catalog.regclass::pg_catalog.text, r.rolname"
	"  FROM partition p, pg_catalog.pg_class c, pg_catalog.pg_roles r"
	" WHERE c.oid OPERATOR(pg_catalog.=) p.relid AND r.oid OPERATOR(pg_catalog.=) c.relowner"
	"   AND r.oid OPERATOR(pg_catalog.<>) $2 AND NOT r.rolsuper"
	" ORDER BY c.oid LIMIT 1",
	.nparameters = 2,
	.parameters = {OIDOID, OIDOID},
};

typedef struct House
{
	TimestampTz now;
	AtlasTableId table;			/* whose partitions are at hand */
	char	   *problem;		/* for the status view; NULL: none so far */
} House;

/* The first task: the partitions of the coming months. */
static void
make_months_ahead(void *argument)
{
	const House *house = argument;

	atlas_partition_ahead(house->table, house->now);
}

/*
 * The second task: whoever owns a partition can add a trigger to it, which then runs as
 * the owner of the extension.
 */
static void
look_for_other_owner(void *argument)
{
	House	   *house = argument;
	Datum		values[2];

	values[0] = ObjectIdGetDatum(atlas_relation(house->table));
	values[1] = ObjectIdGetDatum(atlas_extension()->owner);
	if (house->problem == NULL && atlas_execute(&select_other_owner, values, NULL, false, 1) > 0)
		house->problem =
			psprintf("Partition %s belongs to role %s, whose triggers would have the rights of the owner of the extension: change its owner.",
					 SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1),
					 SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2));
}

/* Writes to the log why the partitions could not be made. */
static void
log_error(const ErrorData *error)
{
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("partitions of the coming months could not be made: %s", error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("Linking goes on. It is tried again every atlas_events.naptime, and this is said once an hour."),
			 error->context ? errcontext("%s", error->context) : 0));
}

/* A task that fails does not keep the next ones from being done. */
void
atlas_keep_house(AtlasDatabase *slot, TimestampTz now)
{
	static void (*const tasks[]) (void *) = {make_months_ahead, look_for_other_owner};
	House		house = {.now = now};
	ErrorData  *first_error = NULL;
	int			guc_level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	for (int task = 0; task < lengthof(tasks); task++)
		for (house.table = 0; house.table < ATLAS_NTABLES; house.table++)
		{
			ErrorData  *error = atlas_tables[house.table].is_partitioned ?
				atlas_try(tasks[task], &house) : NULL;

			if (first_error == NULL)
				first_error = error;
		}
	AtEOXact_GUC(true, guc_level);

	if (first_error != NULL)
		house.problem = psprintf("The partitions of the coming months cannot be made, see the server log: %s",
								 first_error->message);
	if (!atlas_shmem_note_problem(slot, house.problem, now, LOG_AGAIN_SECONDS))
		return;
	if (first_error != NULL)
		log_error(first_error);
	else
		ereport(LOG, (errmsg("%s", house.problem)));
}

char *
atlas_housekeeping_advice(const AtlasDatabase *slot)
{
	return slot->problem[0] != '\0' ? pstrdup(slot->problem) : NULL;
}
