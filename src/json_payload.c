/*
 * json_payload.c
 *		Takes a request body apart before it is parsed.
 *
 * jansson holds integers as int64 and reals as double, and gives up at depth
 * 2048; a payload goes to jsonb instead, which keeps 20-digit integers and
 * 30-digit decimals. So before jansson sees an event, this scanner finds the value
 * of its "payload" and leaves a number in its place. Of an array it finds the
 * items, so that each can be parsed, or refused, for itself.
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
	const char *json = scanner->json;
	Size		length = scanner->length;
	Size		position = scanner->position + 1;

	while (position < length && json[position] != '"')
		position += json[position] == '\\' ? 2 : 1;
	scanner->position = Min(position + 1, length);
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

/* A skeleton that is being made, and how much of the body it stands for already. */
typedef struct Copy
{
	AtlasSkeleton skeleton;
	const char *body;
	Size		taken;
	bool		keeps_places;
} Copy;

static Copy
begin_copy(const char *json, Size length, bool keeps_places)
{
	Copy		copy = {{palloc(length + 1), 0}, json, 0, keeps_places};

	return copy;
}

static void
copy_until(Copy *copy, Size position)
{
	memcpy(copy->skeleton.json + copy->skeleton.length, copy->body + copy->taken,
		   position - copy->taken);
	copy->skeleton.length += position - copy->taken;
	copy->taken = position;
}

/* Puts a 0 in the place of a value. */
static void
leave_out(Copy *copy, const AtlasSpan *span)
{
	copy_until(copy, span->start);
	if (span->length > 0)
		copy->skeleton.json[copy->skeleton.length++] = '0';
	if (copy->keeps_places)
		for (Size i = span->start + 1; i < span->start + span->length; i++)
			copy->skeleton.json[copy->skeleton.length++] = copy->body[i] == '\n' ? '\n' : ' ';
	else if (span->length > 1)
		copy->skeleton.json[copy->skeleton.length++] = ' ';	/* or "{}.5" would be 0.5 */
	copy->taken = span->start + span->length;
}

static AtlasSkeleton
end_copy(Copy *copy, Size length)
{
	copy_until(copy, length);
	copy->skeleton.json[copy->skeleton.length] = '\0';
	return copy->skeleton;
}

/* Moves behind a value and says where it is; of no length if there is none. */
static AtlasSpan
take_value(Scanner *scanner)
{
	AtlasSpan	span;

	skip_blanks(scanner);
	span.start = scanner->position;
	skip_value(scanner);
	span.length = scanner->position - span.start;
	return span;
}

AtlasSkeleton
atlas_cut_payload(const char *json, Size length, bool keeps_places, AtlasSpan *payload)
{
	Scanner		scanner = {json, length, 0};
	Copy		copy = begin_copy(json, length, keeps_places);
	Size		depth = 0;

	payload->start = payload->length = 0;
	while (!at_end(&scanner))
	{
		char		c = current(&scanner);
		Size		start = scanner.position;
		Size		end;
		AtlasSpan	value;

		if (c != '"')
		{
			if (c == '{' || c == '[')
				depth++;
			else if ((c == '}' || c == ']') && depth > 0)
				depth--;
			scanner.position++;
			continue;
		}

		skip_string(&scanner);
		end = scanner.position;
		if (depth != 1)
			continue;
		skip_blanks(&scanner);
		if (current(&scanner) != ':')
			continue;
		scanner.position++;
		if (end < start + 2 || !is_payload_key(json + start + 1, end - start - 2))
			continue;
		value = take_value(&scanner);
		leave_out(&copy, &value);
		if (payload->length == 0)
			*payload = value;
	}
	return end_copy(&copy, length);
}

AtlasSkeleton
atlas_split_array(const char *json, Size length, bool keeps_places, int limit,
				  AtlasSpan **items, int *nitems)
{
	Scanner		scanner = {json, length, 0};
	Copy		copy = begin_copy(json, length, keeps_places);
	int			size = 16;

	*items = palloc(sizeof(AtlasSpan) * size);
	*nitems = 0;
	skip_blanks(&scanner);
	if (current(&scanner) != '[')
		return end_copy(&copy, length);
	do
	{
		AtlasSpan	item;

		scanner.position++;		/* the bracket, or the comma */
		item = take_value(&scanner);
		if (item.length == 0)
			break;				/* the end, or an error that the parser reports */
		if (*nitems < limit)
		{
			if (*nitems == size)
				*items = repalloc(*items, sizeof(AtlasSpan) * (size *= 2));
			(*items)[*nitems] = item;
		}
		leave_out(&copy, &item);
		(*nitems)++;
		skip_blanks(&scanner);
	} while (current(&scanner) == ',');
	return end_copy(&copy, length);
}
