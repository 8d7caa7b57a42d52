/*
 * event_id.c
 *		Event ids: UUIDs of version 7 whose time is when the event occurred.
 *
 *	bits	48	milliseconds since 1970
 *			 4	version 7
 *			12	fraction of the millisecond, in 1/4096
 *			 2	variant
 *			32	counter of this backend
 *			30	random
 *
 * The counter keeps the ids of one backend in order also when their times are
 * equal; it starts at random in the lower half of its range, so that two
 * backends rarely share a value, and the random bits settle it when they do.
 * If the clock is set back, new ids sort before older ones, but no two are equal.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "pgtime.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/event_id.h"

#define UNIX_EPOCH_OFFSET_USECS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* The first time whose milliseconds do not fit in 48 bits. */
#define END_OF_TIMES \
	((INT64CONST(1) << 48) * 1000 - UNIX_EPOCH_OFFSET_USECS)

static pg_prng_state random_state;
static bool random_seeded = false;
static uint32 counter;

/* Writes the 64 bits that hold the time and the version. */
static void
put_time(TimestampTz occurred_at, pg_uuid_t *id)
{
	int64		usecs = occurred_at + UNIX_EPOCH_OFFSET_USECS;
	uint64		millis = usecs / 1000;
	uint64		fraction = (usecs % 1000) * 4096 / 1000;
	uint64		high = pg_hton64(millis << 16 | UINT64CONST(7) << 12 | fraction);

	memcpy(id->data, &high, sizeof(high));
}

void
atlas_event_id_make(TimestampTz occurred_at, pg_uuid_t *id)
{
	uint64		low;

	if (!random_seeded)
	{
		if (!pg_prng_strong_seed(&random_state))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		counter = pg_prng_uint32(&random_state) >> 1;
		random_seeded = true;
	}

	put_time(occurred_at, id);
	low = UINT64CONST(2) << 62 |
		(uint64) counter++ << 30 |
		(pg_prng_uint32(&random_state) >> 2);
	low = pg_hton64(low);
	memcpy(id->data + 8, &low, sizeof(low));
}

void
atlas_event_id_floor(TimestampTz occurred_at, pg_uuid_t *id)
{
	uint64		high;

	/* Below version 7, so that the bound lies between two milliseconds. */
	high = pg_hton64((uint64) ((occurred_at + UNIX_EPOCH_OFFSET_USECS) / 1000) << 16);
	memset(id->data, 0, UUID_LEN);
	memcpy(id->data, &high, sizeof(high));
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
	memset(id->data, 0, UUID_LEN);
	put_time(occurred_at, id);
	id->data[8] = 0x80;			/* the variant, and nothing of the counter */
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
