/*
 * arrival_clock.h
 *		The clock that events take their arrival from, which puts events of the same
 *		time in order.
 *
 * It counts microseconds, and never repeats one or goes back while the server runs,
 * whatever becomes of the system clock: it takes the time from the system clock once,
 * when it starts, and then runs by the monotonic clock of the machine.
 *
 * If the library is preloaded there is one clock in shared memory, for all backends and
 * databases. The postmaster starts it, and afterwards only atlas_arrival_clock_take()
 * changes it. Without preloading each backend has a clock of its own: it never repeats or
 * goes back within the backend, and clocks of several backends agree as long as the
 * system clock is not set between the starts of the backends.
 */
#ifndef ATLAS_ARRIVAL_CLOCK_H
#define ATLAS_ARRIVAL_CLOCK_H

#include "datatype/timestamp.h"
#include "port/atomics.h"

typedef struct AtlasArrivalClock
{
	int64		offset;			/* added to the monotonic clock; does not change after the start */
	pg_atomic_uint64 last;		/* the last tick that was given out, a TimestampTz */
} AtlasArrivalClock;

/* Makes a clock in shared memory the one that is used; starts it if it is new. */
extern void atlas_arrival_clock_share(AtlasArrivalClock *clock, bool is_new);

/* Is the clock shared by all backends? */
extern bool atlas_arrival_clock_is_shared(void);

/* Takes so many ticks in a row, which nobody else gets. Returns the first one. */
extern TimestampTz atlas_arrival_clock_take(int nticks);

#endif							/* ATLAS_ARRIVAL_CLOCK_H */
