/*
 * json_payload.c
 *		Takes a request body apart before it is parsed.
 *
 * jansson holds integers as int64 and reals as double, and gives up at depth 2048; a
 * payload goes to jsonb instead, which keeps 20-digit integers and 30-digit decimals. So
 * before jansson sees an event, this scanner finds the value of its "payload" and leaves
 * a number in its place. It also replaces numbers that jansson cannot hold by something
 * that jansson can hold. In an array it finds the items, so that each can be parsed, or
 * refused, for itself.
 *
 * A payload is measured on the way, by the size that jsonb prints: "1e131071" takes a few
 * bytes in a request and in jsonb, but 131072 bytes whenever somebody reads it.
 *
 * The scanner knows only strings, numbers and nesting, and needs no stack. Malformed JSON
 * reaches jansson if it is outside of a payload, and jsonb if it is within one. Both say
 * what is wrong.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "event/json_payload.h"

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

/* The character at the position, or NUL at the end. */
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

/* Moves from an opening quote past the closing one. */
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

/* Moves past a value. */
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

/* The character that a \uXXXX escape stands for if it is ASCII, else -1. */
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

/* Is this string, without its quotes, the expected one? It may be written with escapes. */
static bool
is_key(const char *string, Size length, const char *expected)
{
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

/* The digits that numeric can have before and after the decimal point. */
#define MAX_INTEGER_DIGITS 131072
#define MAX_SCALE 16383

/* A larger exponent makes a number too large, whatever its digits are. */
#define MAX_EXPONENT INT64CONST(1000000000)

/* A number of JSON, taken apart. */
typedef struct Number
{
	Size		length;			/* bytes as it is written */
	bool		is_negative;
	bool		is_zero;
	bool		is_integer;		/* without fraction and exponent */
	Size		integer_digits;
	Size		fraction_digits;
	Size		leading_zeros;	/* of all the digits */
	int64		exponent;
} Number;

/* Can this character be a part of a number? */
static bool
is_of_number(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Moves past digits, and returns how many there are. */
static Size
skip_digits(Scanner *scanner, Number *number)
{
	Size		start = scanner->position;

	for (; current(scanner) >= '0' && current(scanner) <= '9'; scanner->position++)
	{
		if (current(scanner) != '0')
			number->is_zero = false;
		else if (number->is_zero)
			number->leading_zeros++;
	}
	return scanner->position - start;
}

/* Reads the digits of an exponent, after the e. */
static bool
read_exponent(Scanner *scanner, Number *number)
{
	bool		is_negative = current(scanner) == '-';
	Size		start;

	if (current(scanner) == '-' || current(scanner) == '+')
		scanner->position++;
	start = scanner->position;
	for (; current(scanner) >= '0' && current(scanner) <= '9'; scanner->position++)
		number->exponent = Min(number->exponent * 10 + (current(scanner) - '0'), MAX_EXPONENT);
	if (is_negative)
		number->exponent = -number->exponent;
	return scanner->position > start;
}

/*
 * Moves past a number and takes it apart. Returns false, and has not moved, if it is not
 * a number of JSON.
 */
static bool
read_number(Scanner *scanner, Number *number)
{
	Size		start = scanner->position;
	bool		has_leading_zero;
	bool		is_number;

	memset(number, 0, sizeof(*number));
	number->is_zero = number->is_integer = true;
	number->is_negative = current(scanner) == '-';
	if (number->is_negative)
		scanner->position++;
	has_leading_zero = current(scanner) == '0';
	number->integer_digits = skip_digits(scanner, number);
	is_number = number->integer_digits == 1 || (number->integer_digits > 1 && !has_leading_zero);
	if (is_number && current(scanner) == '.')
	{
		number->is_integer = false;
		scanner->position++;
		number->fraction_digits = skip_digits(scanner, number);
		is_number = number->fraction_digits > 0;
	}
	if (is_number && (current(scanner) == 'e' || current(scanner) == 'E'))
	{
		number->is_integer = false;
		scanner->position++;
		is_number = read_exponent(scanner, number);
	}
	if (is_number && !at_end(scanner) && !is_of_number(current(scanner)))
	{
		number->length = scanner->position - start;
		return true;
	}
	scanner->position = start;
	return false;
}

/* The number of bytes of a number as jsonb prints it, without an exponent. */
static Size
printed_length(const Number *number)
{
	int64		integer_digits = 1;
	int64		scale = Max((int64) number->fraction_digits - number->exponent, 0);

	if (!number->is_zero)
		integer_digits = Max((int64) number->integer_digits - (int64) number->leading_zeros +
							 number->exponent, 1);

	/* jsonb refuses such a number. */
	if (integer_digits > MAX_INTEGER_DIGITS || scale > MAX_SCALE)
		return number->length;
	return (number->is_negative ? 1 : 0) + integer_digits + (scale > 0 ? scale + 1 : 0);
}

/* Moves past a number, and returns the number of bytes that jsonb prints for it. */
static Size
measure_number(Scanner *scanner)
{
	const char *start = scanner->json + scanner->position;
	const char *end = scanner->json + scanner->length;
	const char *c = start + 1;
	Number		number;

	/* Most numbers have no exponent, and are printed as they are written. */
	while (c < end && ((*c >= '0' && *c <= '9') || *c == '.'))
		c++;
	if ((c < end && (*c == 'e' || *c == 'E')) && read_number(scanner, &number))
		return printed_length(&number);
	scanner->position = c - scanner->json;
	return c - start;
}

/*
 * Moves past an object or an array, and returns the number of bytes that jsonb prints
 * for it, or a few more: escapes and repeated keys count as they are written.
 */
static Size
measure_container(Scanner *scanner)
{
	Size		depth = 0;
	Size		length = 0;

	while (!at_end(scanner))
	{
		char		c = scanner->json[scanner->position];
		Size		start = scanner->position;

		switch (c)
		{
			case '"':
				skip_string(scanner);
				length += scanner->position - start;
				continue;
			case '-':
			case '0':
			case '1':
			case '2':
			case '3':
			case '4':
			case '5':
			case '6':
			case '7':
			case '8':
			case '9':
				length += measure_number(scanner);
				continue;
			case ' ':
			case '\t':
			case '\r':
			case '\n':
				break;
			case ',':
			case ':':
				length += 2;	/* jsonb prints a blank after it */
				break;
			case '{':
			case '[':
				depth++;
				length++;
				break;
			case '}':
			case ']':
				depth--;
				length++;
				break;
			default:
				length++;
				break;
		}
		scanner->position++;
		if (depth == 0)
			break;
	}
	return length;
}

/* A skeleton that is being made, and how much of the body it stands for already. */
typedef struct Copy
{
	AtlasSkeleton skeleton;
	const char *body;
	Size		taken;
	bool		keeps_places;
} Copy;

/* A skeleton is never longer than what it stands for. */
static Copy
begin_copy(const char *json, Size length, bool keeps_places)
{
	Copy		copy = {{palloc(length + 1), 0}, json, 0, keeps_places};

	return copy;
}

/* Copies the body up to a position. */
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
		copy->skeleton.json[copy->skeleton.length++] = ' ';	/* otherwise "{}.5" would be 0.5 */
	copy->taken = span->start + span->length;
}

/*
 * Moves past a number. One that jansson cannot hold is replaced by a value that takes no
 * more room and that no field accepts instead of it: see AtlasSkeleton.
 */
static void
copy_number(Copy *copy, Scanner *scanner, Size depth)
{
	char		replacement[MAXINT8LEN + 1];
	Size		start = scanner->position;
	Number		number;

	if (!read_number(scanner, &number))
	{
		/* The parser says what is wrong with it, so it must see all of it. */
		while (is_of_number(current(scanner)))
			scanner->position++;
		return;
	}
	if (!number.is_integer)
		strlcpy(replacement, "0.5", sizeof(replacement));
	else if (number.integer_digits > ATLAS_SHORT_INTEGER_DIGITS)
		snprintf(replacement, sizeof(replacement), INT64_FORMAT, ATLAS_LONG_INTEGER + (int64) start);
	else if (number.is_negative && number.is_zero)
		strlcpy(replacement, depth == 1 ? "{}" : "[]", sizeof(replacement));	/* jansson would forget the sign */
	else
		return;
	copy_until(copy, start);
	memset(copy->skeleton.json + copy->skeleton.length, ' ', number.length);
	memcpy(copy->skeleton.json + copy->skeleton.length, replacement, strlen(replacement));
	copy->skeleton.length += number.length;
	copy->taken = scanner->position;
}

/* Copies the rest of the body. */
static AtlasSkeleton
end_copy(Copy *copy, Size length)
{
	copy_until(copy, length);
	copy->skeleton.json[copy->skeleton.length] = '\0';
	return copy->skeleton;
}

/* Moves past a value and says where it is. It has no length if there is none. */
static AtlasSpan
take_value(Scanner *scanner)
{
	AtlasSpan	span;

	skip_blanks(scanner);
	span.start = scanner->position;
	skip_value(scanner);
	span.length = span.printed_length = scanner->position - span.start;
	return span;
}

/* Does the same with a value that goes to jsonb, and measures it. */
static AtlasSpan
take_jsonb(Scanner *scanner)
{
	AtlasSpan	span;

	skip_blanks(scanner);
	if (current(scanner) != '{' && current(scanner) != '[')
		return take_value(scanner);
	span.start = scanner->position;
	span.printed_length = measure_container(scanner);
	span.length = scanner->position - span.start;
	return span;
}

/* Looks at keys only on the first level. If "payload" is there twice, jansson complains. */
AtlasSkeleton
atlas_cut_payload(const char *json, Size length, bool keeps_places, AtlasSpan *payload)
{
	Scanner		scanner = {json, length, 0};
	Copy		copy = begin_copy(json, length, keeps_places);
	Size		depth = 0;

	memset(payload, 0, sizeof(*payload));
	while (!at_end(&scanner))
	{
		char		c = current(&scanner);
		Size		start = scanner.position;
		Size		end;
		AtlasSpan	value;

		if (c != '"')
		{
			if (depth > 0 && (c == '-' || (c >= '0' && c <= '9')))
			{
				copy_number(&copy, &scanner, depth);
				continue;
			}
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
		if (end < start + 2 || !is_key(json + start + 1, end - start - 2, "payload"))
			continue;
		value = take_jsonb(&scanner);
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

AtlasSpan
atlas_find_field(const char *json, Size length, const char *field)
{
	static const AtlasSpan none = {0};
	Scanner		scanner = {json, length, 0};

	skip_blanks(&scanner);
	do
	{
		Size		start;
		Size		end;
		AtlasSpan	value;

		scanner.position++;		/* the brace, or the comma */
		skip_blanks(&scanner);
		start = scanner.position + 1;
		if (current(&scanner) != '"')
			return none;
		skip_string(&scanner);
		end = scanner.position - 1;
		skip_blanks(&scanner);
		scanner.position++;		/* the colon */
		value = take_jsonb(&scanner);
		if (is_key(json + start, end - start, field))
			return value;
		skip_blanks(&scanner);
	} while (current(&scanner) == ',');
	return none;
}
