/*
 * stop_at_commit.c
 *		A module that a test loads into one session, whose process then stops in the
 *		middle of each commit that wrote something: its rows are visible to the other
 *		sessions, but it has not told them what it changed in the catalogs, and holds
 *		its locks. SIGCONT lets it go on.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static void
stop_at_commit(XactEvent event, void *argument)
{
	if (event == XACT_EVENT_COMMIT && TransactionIdIsValid(GetTopTransactionIdIfAny()))
		raise(SIGSTOP);
}

void
_PG_init(void)
{
	RegisterXactCallback(stop_at_commit, NULL);
}
