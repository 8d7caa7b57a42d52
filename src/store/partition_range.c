/*
 * partition_range.c
 *		Ranges of event ids that partitions cover.
 *
 * A new partition covers a month in UTC. What is older than 13 months when its first
 * event comes is covered by years, because a reader pays for each partition that it opens:
 * ten years of history that is loaded at once are ten partitions, not 120. A year ends
 * where the months begin, 13 months before the current month, so that the first event of
 * a month that is just old enough does not take the young months of its year along. When
 * that line has moved on, the rest of the year gets partitions of its own.
 *
 * A name says the range. Its days are the first and the last that the partition covers:
 *
 *	atlas_events_2025_03						a month
 *	atlas_events_2024							a year
 *	atlas_events_2025_01_to_2025_09				whole months
 *	atlas_events_2025_03_12_to_2025_03_31		whatever fills a gap, by the day
 *	atlas_events_to_2023_06, atlas_events_from_2023_07	without a bound, as a DBA made it
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "store/partition_range.h"

/* Months before the current one that get partitions of their own. */
#define YOUNG_MONTHS 13

bool
atlas_range_has(const AtlasIdRange *range, const pg_uuid_t *id)
{
	return (!range->bounded_low || atlas_event_id_compare(&range->low, id) <= 0) &&
		(!range->bounded_high || atlas_event_id_compare(id, &range->high) < 0);
}

void
atlas_range_narrow(AtlasIdRange *range, const AtlasIdRange *other)
{
	if (other->bounded_low &&
		(!range->bounded_low || atlas_event_id_compare(&range->low, &other->low) < 0))
		range->low = other->low;
	if (other->bounded_high &&
		(!range->bounded_high || atlas_event_id_compare(&other->high, &range->high) < 0))
		range->high = other->high;
	range->bounded_low |= other->bounded_low;
	range->bounded_high |= other->bounded_high;
}

/* The date of a time, in UTC. */
static struct pg_tm
date_of(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	return tm;
}

void
atlas_range_for_new_partition(AtlasIdRange *gap, const pg_uuid_t *id, TimestampTz now)
{
	TimestampTz time = atlas_event_id_time(id);
	TimestampTz line = atlas_month_start(now, -YOUNG_MONTHS);
	TimestampTz start = atlas_month_start(time, 0);
	TimestampTz end = atlas_month_start(time, 1);
	AtlasIdRange range = {.bounded_low = true, .bounded_high = true};

	if (time < line)
	{
		int			months = date_of(time).tm_mon - 1;

		start = atlas_month_start(time, -months);
		end = Min(atlas_month_start(time, 12 - months), line);
	}
	atlas_event_id_floor(start, &range.low);
	atlas_event_id_floor(end, &range.high);
	atlas_range_narrow(gap, &range);
}

/* Is the bound of a partition the start of a month? */
static bool
is_month_start(const pg_uuid_t *bound)
{
	pg_uuid_t	start;

	atlas_event_id_floor(atlas_month_start(atlas_event_id_time(bound), 0), &start);
	return atlas_event_id_compare(bound, &start) == 0;
}

/* A date, with a day or without. */
static char *
date_name(const struct pg_tm *date, bool by_day)
{
	return by_day ? psprintf("%04d_%02d_%02d", date->tm_year, date->tm_mon, date->tm_mday) :
		psprintf("%04d_%02d", date->tm_year, date->tm_mon);
}

/* The part of the name that says the range. */
static char *
range_name(const AtlasIdRange *range)
{
	bool		by_day = (range->bounded_low && !is_month_start(&range->low)) ||
		(range->bounded_high && !is_month_start(&range->high));
	struct pg_tm first = {0};
	struct pg_tm last = {0};
	char	   *first_name = NULL;
	char	   *last_name = NULL;

	if (range->bounded_low)
	{
		first = date_of(atlas_event_id_time(&range->low));
		first_name = date_name(&first, by_day);
	}
	if (range->bounded_high)
	{
		last = date_of(atlas_event_id_time(&range->high) - 1);
		last_name = date_name(&last, by_day);
	}
	if (first_name == NULL)
		return last_name == NULL ? pstrdup("all") : psprintf("to_%s", last_name);
	if (last_name == NULL)
		return psprintf("from_%s", first_name);
	if (!by_day && first.tm_mon == 1 && last.tm_mon == 12 && first.tm_year == last.tm_year)
		return psprintf("%04d", first.tm_year);
	return strcmp(first_name, last_name) == 0 ? first_name : psprintf("%s_to_%s", first_name, last_name);
}

char *
atlas_range_name(const char *table_name, const AtlasIdRange *range)
{
	return psprintf("%s_%s", table_name, range_name(range));
}
