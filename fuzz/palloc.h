/*
 * palloc.h
 *		For script/fuzz: included before all else into the files that take a
 *		request apart, so that each of their allocations is one of malloc, of exactly
 *		its size. AddressSanitizer then sees a byte read or written too far,
 *		which in a memory context it would not.
 */
#ifndef ATLAS_FUZZ_PALLOC_H
#define ATLAS_FUZZ_PALLOC_H

#include "postgres.h"

#include "fuzz/fuzz.h"

#define palloc atlas_fuzz_palloc
#define palloc0 atlas_fuzz_palloc0
#define repalloc atlas_fuzz_repalloc
#define pfree atlas_fuzz_pfree
#define pnstrdup atlas_fuzz_pnstrdup

#endif							/* ATLAS_FUZZ_PALLOC_H */
