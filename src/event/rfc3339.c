/*
 * rfc3339.c
 *		Reads a date-time of RFC 3339, section 5.6, and nothing else.
 *
 * PostgreSQL's own input function accepts far more ("yesterday", dates without an offset,
 * zone names that depend on settings), and it raises errors. Digits beyond microseconds
 * are cut off. Second 60 is the start of the next minute.
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "event/rfc3339.h"

/* Reads exactly so many digits and moves past them. */
static bool
read_digits(const char **cursor, int ndigits, int *value)
{
	*value = 0;
	for (int i = 0; i < ndigits; i++)
	{
		char		c = **cursor;

		if (c < '0' || c > '9')
			return false;
		*value = *value * 10 + (c - '0');
		(*cursor)++;
	}
	return true;
}

/* Reads one character, in either case, and moves past it. */
static bool
read_character(const char **cursor, char expected)
{
	if (pg_ascii_toupper((unsigned char) **cursor) != (unsigned char) expected)
		return false;
	(*cursor)++;
	return true;
}

static bool
read_date_and_time(const char **cursor, struct pg_tm *tm)
{
	return read_digits(cursor, 4, &tm->tm_year) && read_character(cursor, '-') &&
		read_digits(cursor, 2, &tm->tm_mon) && read_character(cursor, '-') &&
		read_digits(cursor, 2, &tm->tm_mday) && read_character(cursor, 'T') &&
		read_digits(cursor, 2, &tm->tm_hour) && read_character(cursor, ':') &&
		read_digits(cursor, 2, &tm->tm_min) && read_character(cursor, ':') &&
		read_digits(cursor, 2, &tm->tm_sec);
}

/* Reads the fraction of a second, if there is one. */
static bool
read_fraction(const char **cursor, fsec_t *usecs)
{
	int			scale = 100000;

	*usecs = 0;
	if (**cursor != '.')
		return true;
	(*cursor)++;
	if (**cursor < '0' || **cursor > '9')
		return false;
	for (; **cursor >= '0' && **cursor <= '9'; (*cursor)++)
	{
		*usecs += (**cursor - '0') * scale;
		scale /= 10;
	}
	return true;
}

/* Reads Z or +hh:mm. The result is in PostgreSQL's sense: seconds west of Greenwich. */
static bool
read_offset(const char **cursor, int *seconds_west)
{
	int			sign;
	int			hours;
	int			minutes;

	*seconds_west = 0;
	if (read_character(cursor, 'Z'))
		return true;
	if (**cursor != '+' && **cursor != '-')
		return false;
	sign = **cursor == '+' ? -1 : 1;
	(*cursor)++;
	if (!read_digits(cursor, 2, &hours) || !read_character(cursor, ':') ||
		!read_digits(cursor, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*seconds_west = sign * (hours * SECS_PER_HOUR + minutes * SECS_PER_MINUTE);
	return true;
}

bool
atlas_parse_rfc3339(const char *string, TimestampTz *result)
{
	const char *cursor = string;
	struct pg_tm tm = {0};
	fsec_t		usecs;
	int			seconds_west;

	if (!read_date_and_time(&cursor, &tm) || !read_fraction(&cursor, &usecs) ||
		!read_offset(&cursor, &seconds_west) || *cursor != '\0')
		return false;
	if (tm.tm_year < 1 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
		tm.tm_mday > day_tab[isleap(tm.tm_year)][tm.tm_mon - 1] ||
		tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	return tm2timestamp(&tm, usecs, &seconds_west, result) == 0;
}
