/*
 * linker.h
 *		The background worker that links the events of one database.
 */
#ifndef ATLAS_LINKER_H
#define ATLAS_LINKER_H

/* The entry point for the postmaster. The argument is the OID of the database. */
extern PGDLLEXPORT void atlas_linker_main(Datum argument);

#endif							/* ATLAS_LINKER_H */
