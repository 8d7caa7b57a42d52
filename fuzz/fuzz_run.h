/*
 * fuzz_run.h
 *		libFuzzer inside of a server.
 */
#ifndef ATLAS_FUZZ_RUN_H
#define ATLAS_FUZZ_RUN_H

#include "postgres.h"

#include "utils/array.h"

/*
 * Looks at an input: valid text in the encoding of the server, not terminated by a zero, in an allocation
 * of exactly its size. What it leaves in the current memory context is freed.
 */
typedef void (*AtlasFuzzLook) (char *text, Size size);

/* Has libFuzzer make up inputs. The arguments are its own. It does not return while it fuzzes. */
extern int	atlas_fuzz_run(ArrayType *arguments, AtlasFuzzLook look);

#endif							/* ATLAS_FUZZ_RUN_H */
