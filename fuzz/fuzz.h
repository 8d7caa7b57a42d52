/*
 * fuzz.h
 *		What the parts of the fuzz target have in common.
 */
#ifndef ATLAS_FUZZ_H
#define ATLAS_FUZZ_H

#include "event/event.h"

/* fuzz.c */

/* Something is wrong: says what, and stops the fuzzer, which keeps the input. */
atlas_noreturn extern void atlas_fuzz_fail(const char *format,...) pg_attribute_printf(1, 2);

/* What palloc.h puts in the place of the server's functions. */
extern void *atlas_fuzz_palloc(Size size);
extern void *atlas_fuzz_palloc0(Size size);
extern void *atlas_fuzz_repalloc(void *pointer, Size size);
extern void atlas_fuzz_pfree(void *pointer);
extern char *atlas_fuzz_pnstrdup(const char *string, Size length);

/* What follows a byte order mark, which jsonb does not skip. */
extern const char *atlas_fuzz_skip_mark(const char *body);

/* Calls an input function; NULL and the error where it raises one. */
extern Datum atlas_fuzz_input(Datum (*function) (FunctionCallInfo), const char *string,
							  ErrorData **error);

/* fuzz_oracle.c: fail unless jsonb says the same of this body. */
extern void atlas_fuzz_check_event(const AtlasEvent *event, const char *body);
extern void atlas_fuzz_check_events(const AtlasEvent *events, int nevents, const char *body);

/* ... or of this body, for which an error was raised. */
extern void atlas_fuzz_check_raised(const ErrorData *error, const char *body);

#endif							/* ATLAS_FUZZ_H */
