/*
 * make_way.c
 *		Makes our workers leave a database that a command needs for itself.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME or SET TABLESPACE and CREATE DATABASE
 * ... TEMPLATE fail while anybody else is connected to the database. Before such a
 * command runs, the linker and the action workers are asked to leave. None is started until the transaction ends,
 * or the subtransaction if that is rolled back, as that of a failing command is. The
 * linker leaves between two batches, which takes milliseconds. A linker that is stuck is
 * terminated.
 *
 * This happens only if the role may run the command, and only where the command can run:
 * all of them but RENAME are refused in a transaction block. The hook also sees CREATE
 * EXTENSION, and wakes the launcher, which would not know of the database otherwise.
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/action_sessions.h"
#include "base/compat.h"
#include "base/extension.h"
#include "base/shmem.h"
#include "base/wakeup.h"
#include "worker/make_way.h"

#define ASK_MILLISECONDS 500	/* until a linker that does not leave is terminated */
#define GIVE_UP_MILLISECONDS 2000	/* until the command runs anyway, and may fail */
#define LOOK_MILLISECONDS 10	/* between two looks whether it has left */

static ProcessUtility_hook_type previous_process_utility = NULL;

/* A slot that is held; NULL when the database has none. */
typedef struct Held
{
	AtlasDatabase *slot;
	int			level;			/* nesting level of the transaction that holds it */
} Held;

/* The slots that this transaction holds, outer levels first, and the database it has dropped. */
static List *held = NIL;
static Oid	dropped = InvalidOid;

/* The database that this command needs for itself, or NULL. */
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

/* May any role that may create databases use this one as a template? */
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

/*
 * Has the role CREATEDB? Not every minor version of PostgreSQL offers its own function
 * for this.
 */
static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		result = superuser();

	if (result)
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* Would the command be run, as far as this can be known beforehand? */
static bool
may_take(const Node *statement, Oid database, bool is_top_level)
{
	bool		is_owner = atlas_owns_database(database, GetUserId());

	if (IsA(statement, RenameStmt))
		return is_owner && may_create_databases();
	if (IsInTransactionBlock(is_top_level))
		return false;
	if (IsA(statement, CreatedbStmt))
		return may_create_databases() && (is_owner || is_common_template(database));
	return is_owner;
}

/* Is a linker or an action worker running, or about to? */
static bool
worker_is_there(const AtlasDatabase *slot)
{
	bool		result;

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	result = slot->pid != 0 || slot->state == ATLAS_LINKER_STARTING;
	LWLockRelease(atlas_shared->lock);
	return atlas_action_sessions_are_there(slot->database) || result;
}

/* The lock makes sure that the process is still the linker. */
static void
terminate_workers(const AtlasDatabase *slot)
{
	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	if (slot->pid != 0)
		(void) kill(slot->pid, SIGTERM);
	LWLockRelease(atlas_shared->lock);
	atlas_action_sessions_terminate(slot->database);
}

/*
 * Keeps linkers away from the database until the end of the transaction. A template to
 * which nobody submits events has no slot, and gets none, because no linker goes there.
 */
static AtlasDatabase *
hold(Oid database, bool is_template)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Held	   *entry = palloc(sizeof(Held));

	/* The entry is made first, because nothing may fail between taking the slot and noting it. */
	entry->slot = NULL;
	entry->level = GetCurrentTransactionNestLevel();
	held = lappend(held, entry);
	MemoryContextSwitchTo(old);
	if (!is_template)
		(void) atlas_shmem_database(database);

	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	entry->slot = atlas_shmem_find(database);
	if (entry->slot != NULL)
		entry->slot->holders++;
	LWLockRelease(atlas_shared->lock);
	if (entry->slot != NULL)
	{
		atlas_shmem_nudge(entry->slot);
		atlas_action_sessions_ask(database);
	}
	return entry->slot;
}

/* Lets linkers come again, except to a database that is gone. The first entries are kept. */
static void
release(int nkept, Oid gone)
{
	LWLockAcquire(atlas_shared->lock, LW_EXCLUSIVE);
	for (int i = nkept; i < list_length(held); i++)
	{
		AtlasDatabase *slot = ((Held *) list_nth(held, i))->slot;

		if (slot == NULL)
			continue;
		slot->holders--;
		if (OidIsValid(gone) && slot->database == gone && slot->pid == 0)
			slot->database = InvalidOid;
	}
	LWLockRelease(atlas_shared->lock);
	held = list_truncate(held, nkept);
	atlas_shmem_wake_launcher();
}

/* A database that was dropped gives its slot back at commit. */
static void
release_in_transaction(XactEvent event, void *arg)
{
	if (held == NIL || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
						event != XACT_EVENT_PREPARE))
		return;
	release(0, event == XACT_EVENT_COMMIT ? dropped : InvalidOid);
	held = NIL;					/* it is in TopTransactionContext */
	dropped = InvalidOid;
}

/*
 * What a subtransaction holds is released if it is rolled back, and passed on to its
 * parent if not.
 */
static void
release_in_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	int			nkept = list_length(held);

	while (nkept > 0 && ((Held *) list_nth(held, nkept - 1))->level >= level)
	{
		nkept--;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			((Held *) list_nth(held, nkept))->level = level - 1;
	}
	if (event == SUBXACT_EVENT_ABORT_SUB && nkept < list_length(held))
		release(nkept, InvalidOid);
}

/* Waits for the workers to leave, and terminates those that take too long. */
static void
wait_until_left(const AtlasDatabase *slot)
{
	TimestampTz start = GetCurrentTimestamp();
	bool		terminated = false;

	while (worker_is_there(slot) &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), GIVE_UP_MILLISECONDS))
	{
		CHECK_FOR_INTERRUPTS();
		if (!terminated &&
			TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ASK_MILLISECONDS))
		{
			terminate_workers(slot);
			terminated = true;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_MILLISECONDS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* The hook around utility commands. */
static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver, QueryCompletion *completion)
{
	bool		is_template;
	const char *name = wanted_database(pstmt->utilityStmt, &is_template);
	Oid			database = name ? get_database_oid(name, true) : InvalidOid;

	/* The statement may be gone once it has been executed. */
	bool		is_drop = IsA(pstmt->utilityStmt, DropdbStmt);
	bool		creates_extension = IsA(pstmt->utilityStmt, CreateExtensionStmt) &&
		strcmp(((CreateExtensionStmt *) pstmt->utilityStmt)->extname, ATLAS_EXTENSION_NAME) == 0;

	if (OidIsValid(database) && database != MyDatabaseId &&
		may_take(pstmt->utilityStmt, database, context == PROCESS_UTILITY_TOPLEVEL))
	{
		AtlasDatabase *slot = hold(database, is_template);

		if (slot != NULL)
			wait_until_left(slot);
	}

	if (previous_process_utility)
		previous_process_utility(pstmt, query, read_only_tree, context, params,
								 environment, receiver, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params,
								environment, receiver, completion);

	if (is_drop)
		dropped = database;
	if (creates_extension)
		atlas_wake_at_commit(0, 1);
}

void
atlas_make_way_init(void)
{
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	RegisterXactCallback(release_in_transaction, NULL);
	RegisterSubXactCallback(release_in_subtransaction, NULL);
}
