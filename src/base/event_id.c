/*
 * event_id.c
 *		Event ids: UUIDs of version 7 whose time is when the event occurred.
 *
 *	bits	48	occurred_at: milliseconds since 1970
 *			 4	version 7
 *			10	occurred_at: microseconds of the millisecond
 *			 2	arrival: the highest bits
 *			 2	variant
 *			48	arrival: the other bits
 *			14	tail
 *
 * The arrival is when the event was submitted, in microseconds since 2026 by the clock
 * of arrival_clock.h; its 50 bits last until September 2061, and then begin again. So ids
 * are in the order of occurred_at, and events of the same microsecond in the order in which
 * they were submitted, in whatever sessions and databases.
 *
 * Usually the clock is shared, and no two calls get the same arrival. The tail is random
 * for the first event of a call, and the others count up from there, into the next arrival
 * if need be. Without preloading each backend has its own clock: the arrival counts up
 * from event to event, and the tail holds the number of the backend, which no other one has
 * at the time (if there are fewer than 16,384), and is random beside it.
 *
 * So no id is given out twice while the server runs, even if the system clock is set back
 * or stands still. For two ids to be equal, arrivals must have been repeated after a restart,
 * which arrival_clock.c makes hard; both microseconds must be the same, and the tails too,
 * which is 1 in 16,384. A server that lives through a minute twice, with 10,000 events per
 * second, makes about one of 10 million ids of that minute once more. The primary key refuses
 * it. Without preloading that can also happen to a backend that starts after the system
 * clock was set back and has the number of an earlier one.
 *
 * An id tells when its event was submitted, and nothing of other events. Only without
 * preloading does it tell which of its connections the server used.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "pgtime.h"
#include "port/pg_bswap.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/arrival_clock.h"
#include "base/event_id.h"

#define UNIX_EPOCH_OFFSET_USECS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* The first time whose milliseconds do not fit in 48 bits. */
#define END_OF_TIMES \
	((INT64CONST(1) << 48) * 1000 - UNIX_EPOCH_OFFSET_USECS)

/* Arrivals are counted from here. */
#define ARRIVAL_EPOCH_JDATE 2461042 /* == date2j(2026, 1, 1) */
#define ARRIVAL_EPOCH \
	((int64) (ARRIVAL_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

#define TAIL_BITS 14
#define TAIL_VALUES (1 << TAIL_BITS)
#define LOW_BITS 62				/* beside the variant */
#define VARIANT (UINT64CONST(2) << LOW_BITS)

/* The 64 bits that hold the time and the version, and two more bits. */
static uint64
high_half(TimestampTz occurred_at)
{
	uint64		usecs = occurred_at + UNIX_EPOCH_OFFSET_USECS;

	return (usecs / 1000) << 16 | UINT64CONST(7) << 12 | (usecs % 1000) << 2;
}

static void
put_halves(uint64 high, uint64 low, pg_uuid_t *id)
{
	high = pg_hton64(high);
	low = pg_hton64(low);
	memcpy(id->data, &high, sizeof(high));
	memcpy(id->data + sizeof(high), &low, sizeof(low));
}

static uint64
random_below(uint32 end)
{
	return pg_prng_uint32(&pg_global_prng_state) % end;
}

/* A random tail with the number of this backend in it. */
static uint64
tail_of_backend(void)
{
	int			nbackends = ProcGlobal->allProcCount;
	int			number = MyProc - ProcGlobal->allProcs;

	return (number + nbackends * random_below(Max(TAIL_VALUES / nbackends, 1))) % TAIL_VALUES;
}

void
atlas_event_ids_begin(int nevents, AtlasEventIds *ids)
{
	TimestampTz arrival;
	uint64		tail;

	if (atlas_arrival_clock_is_shared())
	{
		/* As many arrivals as are touched if the tail of the first one is the greatest. */
		arrival = atlas_arrival_clock_take(1 + (nevents + TAIL_VALUES - 2) / TAIL_VALUES);
		tail = random_below(TAIL_VALUES);
		ids->step = 1;
	}
	else
	{
		arrival = atlas_arrival_clock_take(nevents);
		tail = tail_of_backend();
		ids->step = TAIL_VALUES;
	}
	ids->next = (uint64) (arrival - ARRIVAL_EPOCH) << TAIL_BITS | tail;
}

void
atlas_event_id_make(TimestampTz occurred_at, AtlasEventIds *ids, pg_uuid_t *id)
{
	uint64		low = ids->next & ((UINT64CONST(1) << LOW_BITS) - 1);

	put_halves(high_half(occurred_at) | ids->next >> LOW_BITS, VARIANT | low, id);
	ids->next += ids->step;
}

void
atlas_event_id_floor(TimestampTz occurred_at, pg_uuid_t *id)
{
	uint64		high = high_half(occurred_at);

	/* Bounds of partitions are below version 7, so that they lie between two milliseconds. */
	if (occurred_at % 1000 == 0)
		high = high >> 16 << 16;
	put_halves(high, 0, id);
}

bool
atlas_event_id_first(TimestampTz occurred_at, pg_uuid_t *id)
{
	if (TIMESTAMP_IS_NOBEGIN(occurred_at) || TIMESTAMP_IS_NOEND(occurred_at))
	{
		memset(id->data, TIMESTAMP_IS_NOEND(occurred_at) ? 0xff : 0, UUID_LEN);
		return true;
	}
	if (occurred_at < -UNIX_EPOCH_OFFSET_USECS || occurred_at >= END_OF_TIMES)
		return false;
	put_halves(high_half(occurred_at), VARIANT, id);
	return true;
}

TimestampTz
atlas_event_id_time(const pg_uuid_t *id)
{
	uint64		high;

	memcpy(&high, id->data, sizeof(high));
	return (int64) (pg_ntoh64(high) >> 16) * 1000 - UNIX_EPOCH_OFFSET_USECS;
}

int
atlas_event_id_compare(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

/* uuid_out() would allocate a kilobyte for each id. */
char *
atlas_event_id_string(const pg_uuid_t *id)
{
	static const char digits[] = "0123456789abcdef";
	char	   *result = palloc(UUID_LEN * 2 + 5);
	char	   *next = result;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*next++ = '-';
		*next++ = digits[id->data[i] >> 4];
		*next++ = digits[id->data[i] & 15];
	}
	*next = '\0';
	return result;
}

TimestampTz
atlas_month_start(TimestampTz time, int months_later)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			utc = 0;
	Timestamp	result;
	int			month;

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");

	month = tm.tm_year * 12 + (tm.tm_mon - 1) + months_later;
	tm.tm_year = month / 12;
	tm.tm_mon = month % 12 + 1;
	tm.tm_mday = 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	if (tm2timestamp(&tm, 0, &utc, &result) != 0)
		elog(ERROR, "timestamp out of range");
	return result;
}
