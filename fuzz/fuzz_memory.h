/*
 * fuzz_memory.h
 *		The allocations of the files that take a request apart.
 */
#ifndef ATLAS_FUZZ_MEMORY_H
#define ATLAS_FUZZ_MEMORY_H

#include "postgres.h"

/* They stand for the server's functions of the same names: see palloc.h. */
extern void *atlas_fuzz_palloc(Size size);
extern void *atlas_fuzz_palloc0(Size size);
extern void *atlas_fuzz_repalloc(void *pointer, Size size);
extern void atlas_fuzz_pfree(void *pointer);
extern char *atlas_fuzz_pnstrdup(const char *string, Size length);

/* Frees what is left of all of them. */
extern void atlas_fuzz_free_all(void);

#endif							/* ATLAS_FUZZ_MEMORY_H */
