/*
 * worker.h
 *		What the background workers have in common. There is one launcher in the
 *		server, and one linker in each database that has something to link.
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
 * Connects a worker to a database, or to none if it is InvalidOid, with settings of its
 * own. The last one of these has no name.
 */
extern void atlas_worker_connect(Oid database, const AtlasSetting *settings);

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

#endif							/* ATLAS_WORKER_H */
