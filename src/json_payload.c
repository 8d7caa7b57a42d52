/*
 * json_payload.c
 *		Cuts the payloads out of a request body.
 *
 * jansson holds integers as int64 and reals as double, and gives up at depth
 * 2048; a payload goes to jsonb instead, which keeps 20-digit integers and
 * 30-digit decimals. So before jansson sees the body, this scanner finds the
 * value of each event's "payload" and leaves a number in its place.
 *
 * The scanner knows strings and nesting, no more, and needs no stack. What is
 * malformed outside of a payload reaches jansson, what is malformed within one
 * reaches jsonb; both say so.
 */
#include "postgres.h"

#include "json_payload.h"

typedef struct Scanner
{
	const char *json;
	Size		length;
	Size		position;
} Scanner;

static bool
at_end(const Scanner *scanner)
{
	return scanner->position >= scanner->length;
}

static char
current(const Scanner *scanner)
{
	return at_end(scanner) ? '\0' : scanner->json[scanner->position];
}

static void
skip_blanks(Scanner *scanner)
{
	while (!at_end(scanner) && strchr(" \t\r\n", current(scanner)) != NULL)
		scanner->position++;
}

/* Moves from an opening quote behind the closing one. */
static void
skip_string(Scanner *scanner)
{
	scanner->position++;
	while (!at_end(scanner))
	{
		char		c = scanner->json[scanner->position++];

		if (c == '"')
			return;
		if (c == '\\' && !at_end(scanner))
			scanner->position++;
	}
}

/* Moves behind a value. */
static void
skip_value(Scanner *scanner)
{
	Size		depth = 0;

	while (!at_end(scanner))
	{
		char		c = current(scanner);

		if (c == '"')
			skip_string(scanner);
		else if (c == '{' || c == '[')
		{
			depth++;
			scanner->position++;
		}
		else if (c == '}' || c == ']')
		{
			if (depth == 0)
				return;
			depth--;
			scanner->position++;
		}
		else if (depth == 0)
		{
			while (!at_end(scanner) && strchr(" \t\r\n,}]{[\"", current(scanner)) == NULL)
				scanner->position++;
		}
		else
			scanner->position++;

		if (depth == 0)
			return;
	}
}

/* The character that a \uXXXX escape stands for, if it is ASCII, else -1. */
static int
escaped_ascii(const char *digits)
{
	int			value = 0;

	for (int i = 0; i < 4; i++)
	{
		char		c = pg_ascii_tolower((unsigned char) digits[i]);

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else
			return -1;
	}
	return value < 128 ? value : -1;
}

/* Is this string, without its quotes, "payload", escapes or not? */
static bool
is_payload_key(const char *string, Size length)
{
	const char *expected = "payload";
	Size		i = 0;

	for (; *expected != '\0'; expected++)
	{
		if (i >= length)
			return false;
		if (string[i] != '\\')
		{
			if (string[i++] != *expected)
				return false;
			continue;
		}
		if (i + 6 > length || string[i + 1] != 'u' ||
			escaped_ascii(string + i + 2) != *expected)
			return false;
		i += 6;
	}
	return i == length;
}

static AtlasPayloadSpan *
span_of(AtlasPayloads *payloads, int item)
{
	if (item >= payloads->nspans)
	{
		int			old = payloads->nspans;

		payloads->nspans = Max(item + 1, old * 2);
		payloads->spans = repalloc(payloads->spans, sizeof(AtlasPayloadSpan) * payloads->nspans);
		memset(payloads->spans + old, 0, sizeof(AtlasPayloadSpan) * (payloads->nspans - old));
	}
	return &payloads->spans[item];
}

/* Notes where the value at the scanner stands and puts a 0 in its place. */
static void
cut_value(Scanner *scanner, AtlasPayloads *payloads, int item)
{
	AtlasPayloadSpan *span = span_of(payloads, item);
	Size		start;

	skip_blanks(scanner);
	start = scanner->position;
	skip_value(scanner);
	if (scanner->position == start)
		return;					/* no value: an error that jansson reports */

	if (span->length == 0)
	{
		span->start = start;
		span->length = scanner->position - start;
	}
	for (Size i = start; i < scanner->position; i++)
		if (payloads->envelope[i] != '\n')
			payloads->envelope[i] = ' ';
	payloads->envelope[start] = '0';
}

void
atlas_cut_payloads(const char *json, Size length, bool is_batch, AtlasPayloads *payloads)
{
	Scanner		scanner = {json, length, 0};
	Size		event_depth = is_batch ? 2 : 1;
	Size		depth = 0;
	int			item = 0;

	payloads->envelope = palloc(length + 1);
	memcpy(payloads->envelope, json, length);
	payloads->envelope[length] = '\0';
	payloads->nspans = is_batch ? 16 : 1;
	payloads->spans = palloc0(sizeof(AtlasPayloadSpan) * payloads->nspans);

	while (!at_end(&scanner))
	{
		char		c = current(&scanner);

		if (c == '"')
		{
			Size		start = scanner.position + 1;
			Size		end;

			skip_string(&scanner);
			end = scanner.position - 1;
			if (depth != event_depth)
				continue;
			skip_blanks(&scanner);
			if (current(&scanner) != ':')
				continue;
			scanner.position++;
			if (end >= start && is_payload_key(json + start, end - start))
				cut_value(&scanner, payloads, item);
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && depth > 0)
			depth--;
		else if (c == ',' && is_batch && depth == 1)
			item++;
		scanner.position++;
	}

	/* One span for every item, so that the caller need not look. */
	(void) span_of(payloads, item);
}
