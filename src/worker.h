/*
 * worker.h
 *		The background workers: one launcher in the server, and a linker in
 *		each database that has something to link.
 */
#ifndef ATLAS_WORKER_H
#define ATLAS_WORKER_H

/* Settings, see atlas_events.c. */
extern bool atlas_linking;
extern int	atlas_batch_size;
extern int	atlas_poll_interval;	/* milliseconds */
extern int	atlas_idle_timeout; /* milliseconds */
extern int	atlas_naptime;		/* seconds */
extern int	atlas_max_workers;

/* Registers the launcher; from _PG_init(), when the library is preloaded. */
extern void atlas_launcher_register(void);

/* Entry points for the postmaster. */
extern PGDLLEXPORT void atlas_launcher_main(Datum argument);
extern PGDLLEXPORT void atlas_linker_main(Datum argument);

/* hold.c: makes linkers leave a database that somebody wants for himself. */
extern void atlas_hold_init(void);

#endif							/* ATLAS_WORKER_H */
