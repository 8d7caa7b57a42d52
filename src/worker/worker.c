/*
 * worker.c
 *		What the launcher, linkers and action workers have in common: how they connect,
 *		which settings they have, and how they end when they are told to.
 *
 * Settings that a DBA has made for the server, a database or a role are meant for
 * sessions. A worker makes the settings that it relies on itself, once it is connected.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/extension.h"
#include "worker/worker.h"

bool		atlas_linking = true;
int			atlas_poll_interval = 1000;
int			atlas_idle_timeout = 2000;
int			atlas_naptime = 60;
int			atlas_max_workers = 4;

volatile sig_atomic_t atlas_worker_is_busy = false;
volatile sig_atomic_t atlas_worker_is_terminated = false;

/* The defaults of a transaction could make it wait for others, or fail. */
static const AtlasSetting common_settings[] = {
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"role", "none"},
	{"session_replication_role", "origin"},
	{"statement_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"lock_timeout", "0"},
	{"row_security", "on"},
	ATLAS_TRANSACTION_TIMEOUT
	{NULL, NULL}
};

/*
 * A worker that is not busy ends by itself, in good order. One that is busy cannot wait
 * until then.
 */
static void
handle_sigterm(SIGNAL_ARGS)
{
	if (atlas_worker_is_busy)
	{
		atlas_worker_is_terminated = true;
		die(postgres_signal_arg);
	}
	else
		SignalHandlerForShutdownRequest(postgres_signal_arg);
}

/* Between two transactions there is nothing to cancel. */
static void
handle_sigint(SIGNAL_ARGS)
{
	if (atlas_worker_is_busy)
		StatementCancelHandler(postgres_signal_arg);
}

/* Makes settings that no other source can override. */
static void
configure(const AtlasSetting *settings)
{
	for (; settings->name != NULL; settings++)
		SetConfigOption(settings->name, settings->value, PGC_SUSET, PGC_S_OVERRIDE);
}

void
atlas_worker_connect(Oid database, Oid role, const AtlasSetting *settings)
{
	/* Connecting may wait for a lock on the database. */
	atlas_worker_is_busy = true;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_sigterm);
	pqsignal(SIGINT, handle_sigint);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, role, ATLAS_WORKER_CONNECTION_FLAGS);
	configure(common_settings);
	configure(settings);
	atlas_worker_is_busy = false;
}

bool
atlas_worker_can_come(Oid database, Oid role)
{
	bool		result;

	atlas_worker_begin();
	result = SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)) &&
		(!OidIsValid(role) || SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)));
	atlas_worker_commit();
	return result;
}

/* The snapshot itself is not used here, but having one makes it safe to read heap pages. */
void
atlas_worker_begin(void)
{
	atlas_worker_is_busy = true;
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
}

void
atlas_worker_commit(void)
{
	CommitTransactionCommand();
	atlas_worker_is_busy = false;
}

bool
atlas_worker_begin_step(const char *activity)
{
	atlas_worker_is_busy = true;
	pgstat_report_activity(STATE_RUNNING, activity);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (!atlas_extension_lock())
	{
		atlas_worker_commit();
		return false;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	return true;
}

void
atlas_worker_end_step(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	atlas_worker_is_busy = false;
}

/* ----- Messages ----- */

typedef struct WorkerName
{
	const char *kind;
	const char *database;
} WorkerName;

static void
add_context(void *argument)
{
	const WorkerName *name = argument;

	errcontext("atlas_events %s of database \"%s\"", name->kind, name->database);
}

void
atlas_worker_name_in_messages(const char *kind)
{
	static ErrorContextCallback context = {.callback = add_context};
	static WorkerName name;
	char	   *database;

	atlas_worker_begin();
	database = get_database_name(MyDatabaseId);
	name.kind = kind;
	name.database = MemoryContextStrdup(TopMemoryContext, database != NULL ? database : "");
	atlas_worker_commit();
	context.arg = &name;
	context.previous = error_context_stack;
	error_context_stack = &context;
}
