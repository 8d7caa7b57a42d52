/*
 * worker.h
 *		What the background workers have in common. There is one launcher in the
 *		server, one linker in each database that has something to link, and one action worker for each role in it
 *		in whose session actions of rules are due.
 */
#ifndef ATLAS_WORKER_H
#define ATLAS_WORKER_H

#include <signal.h>

/* A setting of PostgreSQL that a worker makes for itself. */
typedef struct AtlasSetting
{
	const char *name;
	const char *value;
} AtlasSetting;

/* Settings, see atlas_events.c. */
extern bool atlas_linking;
extern int	atlas_poll_interval;	/* milliseconds */
extern int	atlas_idle_timeout; /* milliseconds */
extern int	atlas_naptime;		/* seconds */
extern int	atlas_max_workers;

/*
 * Connects a worker to a database, or to none if it is InvalidOid, as a role, or as the first superuser if that is
 * InvalidOid, with settings of its own. The last one of these has no name.
 */
extern void atlas_worker_connect(Oid database, Oid role, const AtlasSetting *settings);

/* Are the database, and the role if it is not InvalidOid, still there? They may have been dropped since they were noted. */
extern bool atlas_worker_can_come(Oid database, Oid role);

/*
 * Is a transaction under way? Then SIGTERM ends the process wherever it is, and SIGINT
 * cancels what it does. Otherwise the process checks by itself whether it is to end.
 */
extern volatile sig_atomic_t atlas_worker_is_busy;

/* Was SIGTERM received during a transaction? */
extern volatile sig_atomic_t atlas_worker_is_terminated;

/* A transaction of a worker, with a snapshot. */
extern void atlas_worker_begin(void);
extern void atlas_worker_commit(void);

/*
 * A transaction that locks the extension, so that DROP EXTENSION waits for its end, inside SPI_connect(). The first
 * call returns false, without a transaction, if this database has no extension.
 */
extern bool atlas_worker_begin_step(const char *activity);
extern void atlas_worker_end_step(void);

/* Has the worker name its kind and its database in messages, because log_line_prefix does not know that of a worker. */
extern void atlas_worker_name_in_messages(const char *kind);

#endif							/* ATLAS_WORKER_H */
