/*
 * limits.h
 *		What the evaluation of conditions may take of one event, looked at while it runs.
 */
#ifndef ATLAS_LIMITS_H
#define ATLAS_LIMITS_H

#include "c.h"

#define ATLAS_CONDITION_TIME 100	/* milliseconds for all conditions of one event */
#define ATLAS_TICK 10			/* milliseconds between two looks at them */
#define ATLAS_CONDITION_MEMORY 64	/* megabytes for each condition */

typedef enum AtlasLimit
{
	ATLAS_WITHIN_LIMITS,
	ATLAS_TIME_IS_UP,
	ATLAS_MEMORY_IS_UP
} AtlasLimit;

/*
 * Has the timer run, which is a system call. Whatever happens, the other call must follow, and
 * be it when memory is freed after an error.
 */
extern void atlas_limits_arm(void);
extern void atlas_limits_disarm(void);

/* Begins with the time of another event; and how many ticks it has taken so far. */
extern void atlas_limits_next_event(void);
extern int	atlas_limits_ticks(void);

/*
 * Watches code that allocates in this memory context, until the other call, which says whether
 * it is over a limit. Then the code usually has raised an error: one of
 * ERRCODE_STATEMENT_TOO_COMPLEX, which stands for the limit.
 */
extern void atlas_limits_watch(MemoryContext context);
extern AtlasLimit atlas_limits_unwatch(void);

#endif							/* ATLAS_LIMITS_H */
