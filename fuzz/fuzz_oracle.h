/*
 * fuzz_oracle.h
 *		Holds what the decoder makes of a request against what jsonb makes of it.
 */
#ifndef ATLAS_FUZZ_ORACLE_H
#define ATLAS_FUZZ_ORACLE_H

#include "event/event.h"

/* These fail unless jsonb says the same of the body. */
extern void atlas_fuzz_check_event(const AtlasEvent *event, const char *body);
extern void atlas_fuzz_check_events(const AtlasEvent *events, int nevents, const char *body);

/* The same of a body for which an error was raised. */
extern void atlas_fuzz_check_raised(const ErrorData *error, const char *body);

#endif							/* ATLAS_FUZZ_ORACLE_H */
