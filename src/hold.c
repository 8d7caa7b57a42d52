/*
 * hold.c
 *		Makes linkers leave a database that somebody wants for himself.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME or SET TABLESPACE and CREATE DATABASE
 * ... TEMPLATE fail while anybody else is connected to the database. Before such
 * a command runs, the linker is asked to leave, and none is started until the
 * command has ended. It leaves between two batches, which takes milliseconds;
 * one that is stuck is terminated.
 *
 * Only a role that may run the command does this. CREATE EXTENSION also comes by
 * here: it wakes the launcher, which would not know of the database otherwise.
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "compat.h"
#include "extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "wakeup.h"
#include "worker.h"

#define ASK_MILLISECONDS 500	/* until a linker that does not leave is terminated */
#define GIVE_UP_MILLISECONDS 2000
#define LOOK_MILLISECONDS 10

static ProcessUtility_hook_type previous_process_utility = NULL;

/* The database that this backend holds; such commands are never nested. */
static AtlasDatabase *held = NULL;

/* The database that this command wants for itself, or NULL. */
static const char *
wanted_database(Node *statement, bool *is_template)
{
	ListCell   *cell;

	*is_template = false;
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) statement)->dbname;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				return ((RenameStmt *) statement)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			foreach(cell, ((AlterDatabaseStmt *) statement)->options)
				if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
					return ((AlterDatabaseStmt *) statement)->dbname;
			return NULL;
		case T_CreatedbStmt:
			*is_template = true;
			foreach(cell, ((CreatedbStmt *) statement)->options)
			{
				DefElem    *option = lfirst(cell);

				if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
					return defGetString(option);
			}
			return "template1";
		default:
			return NULL;
	}
}

/* May the caller have this database as a template, apart from owning it? */
static bool
is_common_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

static bool
linker_is_there(const AtlasDatabase *slot)
{
	bool		result;

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	result = slot->pid != 0 || slot->state == ATLAS_LINKER_STARTING;
	LWLockRelease(atlas_shared->lock);
	return result;
}

static void
terminate_linker(const AtlasDatabase *slot)
{
	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	if (slot->pid != 0)
		(void) kill(slot->pid, SIGTERM);
	LWLockRelease(atlas_shared->lock);
}

/* Lets linkers come again, unless the database has been dropped. */
static void
release(bool dropped)
{
	if (held == NULL)
		return;
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	held->holders--;
	if (dropped && held->pid == 0 && held->holders == 0)
		held->database = InvalidOid;
	LWLockRelease(atlas_shared->lock);
	held = NULL;
	atlas_shmem_wake_launcher();
}

static void
release_at_exit(int code, Datum argument)
{
	LWLockReleaseAll();
	release(false);
}

/* Takes the database, unless no linker ever comes there. */
static void
hold(Oid database)
{
	static bool exit_registered = false;

	if (!exit_registered)
	{
		before_shmem_exit(release_at_exit, (Datum) 0);
		exit_registered = true;
	}
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	held = atlas_shmem_find(database);
	if (held != NULL)
		held->holders++;
	LWLockRelease(atlas_shared->lock);
	if (held != NULL)
		atlas_shmem_nudge(held);
}

static void
wait_until_left(const AtlasDatabase *slot)
{
	TimestampTz start = GetCurrentTimestamp();
	bool		terminated = false;

	while (linker_is_there(slot) &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), GIVE_UP_MILLISECONDS))
	{
		CHECK_FOR_INTERRUPTS();
		if (!terminated &&
			TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ASK_MILLISECONDS))
		{
			terminate_linker(slot);
			terminated = true;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_MILLISECONDS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver, QueryCompletion *completion)
{
	bool		is_template;
	const char *name = wanted_database(pstmt->utilityStmt, &is_template);
	Oid			database = name ? get_database_oid(name, true) : InvalidOid;
	volatile bool dropped = false;

	/* The statement may be gone once it has been executed. */
	bool		is_drop = IsA(pstmt->utilityStmt, DropdbStmt);
	bool		creates_extension = IsA(pstmt->utilityStmt, CreateExtensionStmt) &&
		strcmp(((CreateExtensionStmt *) pstmt->utilityStmt)->extname, ATLAS_EXTENSION_NAME) == 0;

	if (OidIsValid(database) && database != MyDatabaseId && held == NULL &&
		(atlas_owns_database(database, GetUserId()) ||
		 (is_template && is_common_template(database))))
		hold(database);

	PG_TRY();
	{
		if (held != NULL && OidIsValid(database))
			wait_until_left(held);
		if (previous_process_utility)
			previous_process_utility(pstmt, query, read_only_tree, context, params,
									 environment, receiver, completion);
		else
			standard_ProcessUtility(pstmt, query, read_only_tree, context, params,
									environment, receiver, completion);
		dropped = is_drop;
	}
	PG_FINALLY();
	{
		if (OidIsValid(database))
			release(dropped);
	}
	PG_END_TRY();

	if (creates_extension)
		atlas_wake_at_commit(0, 1);
}

void
atlas_hold_init(void)
{
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
