/*
 * launcher.h
 *		The background worker that starts linkers where they are needed.
 */
#ifndef ATLAS_LAUNCHER_H
#define ATLAS_LAUNCHER_H

/* Registers the launcher; from _PG_init(), when the library is preloaded. */
extern void atlas_launcher_register(void);

/* The entry point for the postmaster. */
extern PGDLLEXPORT void atlas_launcher_main(Datum argument);

#endif							/* ATLAS_LAUNCHER_H */
