/*
 * palloc.h
 *		For script/fuzz: the build includes it before all else into the files that
 *		take a request apart, so that these use the functions of fuzz_memory.c.
 */
#ifndef ATLAS_FUZZ_PALLOC_H
#define ATLAS_FUZZ_PALLOC_H

#include "fuzz_memory.h"

#define palloc atlas_fuzz_palloc
#define palloc0 atlas_fuzz_palloc0
#define repalloc atlas_fuzz_repalloc
#define pfree atlas_fuzz_pfree
#define pnstrdup atlas_fuzz_pnstrdup

#endif							/* ATLAS_FUZZ_PALLOC_H */
