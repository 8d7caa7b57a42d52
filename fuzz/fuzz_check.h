/*
 * fuzz_check.h
 *		What both parts of the fuzz target need.
 */
#ifndef ATLAS_FUZZ_CHECK_H
#define ATLAS_FUZZ_CHECK_H

#include "fmgr.h"

#include "base/compat.h"

/* Notes the body that is looked at from now on, for the report. */
extern void atlas_fuzz_begin(const char *body);

/* Something is wrong: says what, and stops the fuzzer, which keeps the input. */
atlas_noreturn extern void atlas_fuzz_fail(const char *format,...) pg_attribute_printf(1, 2);

/* What follows a byte order mark, which jsonb does not skip. */
extern const char *atlas_fuzz_skip_mark(const char *body);

/* Calls an input function; NULL and the error where it raises one. */
extern Datum atlas_fuzz_input(Datum (*function) (FunctionCallInfo), const char *string,
							  ErrorData **error);

#endif							/* ATLAS_FUZZ_CHECK_H */
