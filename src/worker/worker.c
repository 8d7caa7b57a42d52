/*
 * worker.c
 *		What the launcher and the linkers have in common: how they connect,
 *		which settings they have, and how they end when they are told to.
 *
 * Settings that a DBA has made for the server, a database or a role are meant for
 * sessions. A worker makes the settings that it relies on itself, once it is connected.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
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
	{"search_path", "pg_catalog, pg_temp"},
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
atlas_worker_connect(Oid database, const AtlasSetting *settings)
{
	/* Connecting may wait for a lock on the database. */
	atlas_worker_is_busy = true;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_sigterm);
	pqsignal(SIGINT, handle_sigint);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	configure(common_settings);
	configure(settings);
	atlas_worker_is_busy = false;
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
