/*
 * arrival_clock.c
 *		The clock that events take their arrival from. See arrival_clock.h.
 *
 * A clock that runs ahead of the time is a counter until the time has caught up, and
 * its ticks then tell each tenant how many events the others submit. Therefore it goes
 * by the monotonic clock, which nobody sets; and a call takes one or two ticks of the
 * shared clock, and one more for every 16,384 events, not one for each. So that clock runs
 * ahead only while the server gets more than a million calls per second, and then by no
 * more than the calls in excess. The clock of a backend, without preloading, gives a tick to
 * each event, but a call takes longer than its ticks.
 *
 * Restarts:
 *	- after a crash of a backend the postmaster goes on with the same offset;
 *	- after a restart of the postmaster the clock starts at the time of the system. If
 *	  that was set back behind the last change of the control file, the clock starts
 *	  after that change. A clean stop changes the control file last, so nothing that was
 *	  given out before is given out again, unless the server is restarted a second time
 *	  before the system clock has caught up. If the server did not stop cleanly, what
 *	  was given out since its last checkpoint is not known;
 *	- a standby that is promoted goes by the clock of its own machine.
 */
#include "postgres.h"

#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/timestamp.h"

#include "base/arrival_clock.h"

/* The clock of this backend; the postmaster keeps the offset of the shared clock in it. */
static AtlasArrivalClock own_clock;
static bool own_clock_runs = false;

static AtlasArrivalClock *shared_clock = NULL;

/* Microseconds of the machine's monotonic clock. */
static int64
monotonic_time(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return INSTR_TIME_GET_MICROSEC(now);
}

/* The time at which a clock starts. */
static TimestampTz
starting_time(void)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		is_intact;
	ControlFileData *control = get_controlfile(DataDir, &is_intact);
	TimestampTz changed = time_t_to_timestamptz(control->time);

	pfree(control);
	/* The control file has whole seconds. */
	return is_intact && now < changed ? changed + USECS_PER_SEC : now;
}

static void
start_own_clock(void)
{
	own_clock.offset = starting_time() - monotonic_time();
	pg_atomic_init_u64(&own_clock.last, 0);
	own_clock_runs = true;
}

void
atlas_arrival_clock_share(AtlasArrivalClock *clock, bool is_new)
{
	if (is_new)
	{
		if (!own_clock_runs)
			start_own_clock();
		clock->offset = own_clock.offset;
		pg_atomic_init_u64(&clock->last, 0);
	}
	shared_clock = clock;
}

bool
atlas_arrival_clock_is_shared(void)
{
	return shared_clock != NULL;
}

/* A turn of the loop fails only if another backend has taken ticks since the last one. */
TimestampTz
atlas_arrival_clock_take(int nticks)
{
	AtlasArrivalClock *clock = shared_clock;
	TimestampTz now;
	TimestampTz first;
	uint64		last;

	if (clock == NULL)
	{
		if (!own_clock_runs)
			start_own_clock();
		clock = &own_clock;
	}
	now = clock->offset + monotonic_time();
	last = pg_atomic_read_u64(&clock->last);
	do
		first = Max(now, (TimestampTz) last + 1);
	while (!pg_atomic_compare_exchange_u64(&clock->last, &last, first + nticks - 1));
	return first;
}
