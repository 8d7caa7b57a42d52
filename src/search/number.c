/*
 * number.c
 *		Numbers as exact values: those that are equal have the same text.
 *
 * A number is its digits, without zeros at either end, and the place of its point. Both
 * can be read from any way of writing it, and neither grows with its exponent: 1e131071
 * has one digit. The text is plain where that is short (50, 0.05, -1999.95), and has an
 * exponent where it is not (1e131071).
 *
 * Numbers are written as in JSON. So 007 and +1 are no numbers, and are not mixed up with
 * 7 and 1: they may well be codes and telephone numbers.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"

#include "event/jsonb_text.h"
#include "search/number.h"

/* Zeros that are written around the digits before an exponent is. */
#define MAX_WRITTEN_ZEROS 20

/* No number of jsonb has an exponent like this one. */
#define MAX_EXPONENT 1000000

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Writes the text of a number. */
static char *
number_text(const AtlasDecimal *decimal, int *length)
{
	int			ndigits = decimal->ndigits;
	int			point = decimal->point;
	char	   *text = palloc(ndigits + MAX_WRITTEN_ZEROS + 20);
	char	   *c = text;

	if (decimal->is_negative && ndigits > 0)
		*c++ = '-';
	if (ndigits == 0)
		*c++ = '0';
	else if (point > 0 && point - ndigits <= MAX_WRITTEN_ZEROS)
	{
		int			before = Min(point, ndigits);

		memcpy(c, decimal->digits, before);
		c += before;
		memset(c, '0', point - before);
		c += point - before;
		if (ndigits > before)
			*c++ = '.';
		memcpy(c, decimal->digits + before, ndigits - before);
		c += ndigits - before;
	}
	else if (point <= 0 && -point <= MAX_WRITTEN_ZEROS)
	{
		*c++ = '0';
		*c++ = '.';
		memset(c, '0', -point);
		c += -point;
		memcpy(c, decimal->digits, ndigits);
		c += ndigits;
	}
	else
	{
		memcpy(c, decimal->digits, ndigits);
		c += ndigits;
		c += sprintf(c, "e%d", point - ndigits);
	}
	*length = c - text;
	return text;
}

/* Reads the exponent at the end of a number. Returns false if it is none, or beyond jsonb. */
static bool
read_decimal_exponent(const char *c, const char *end, int *exponent)
{
	bool		is_negative = c < end && *c == '-';

	if (c < end && (*c == '-' || *c == '+'))
		c++;
	if (c == end)
		return false;
	for (*exponent = 0; c < end && is_digit(*c); c++)
		if (*exponent < MAX_EXPONENT)
			*exponent = *exponent * 10 + (*c - '0');
	if (is_negative)
		*exponent = -*exponent;
	return c == end;
}

/* Takes the zeros from both ends of the digits. */
static void
trim_zeros(AtlasDecimal *decimal)
{
	while (decimal->ndigits > 0 && decimal->digits[decimal->ndigits - 1] == '0')
		decimal->ndigits--;
	while (decimal->ndigits > 0 && decimal->digits[0] == '0')
	{
		decimal->digits++;
		decimal->ndigits--;
		decimal->point--;
	}
}

char *
atlas_number_of_text(const char *text, int length, int *number_length)
{
	const char *end = text + length;
	const char *c = text;
	AtlasDecimal decimal = {0};
	const char *first;
	int			exponent = 0;

	if (c < end && *c == '-')
		c++;
	if (c == end || !is_digit(*c) || (*c == '0' && c + 1 < end && is_digit(c[1])))
		return NULL;
	decimal.is_negative = *text == '-';
	decimal.digits = palloc(length);
	for (first = c; c < end && is_digit(*c); c++)
		decimal.digits[decimal.ndigits++] = *c;
	decimal.point = c - first;
	if (c < end && *c == '.')
	{
		for (first = ++c; c < end && is_digit(*c); c++)
			decimal.digits[decimal.ndigits++] = *c;
		if (c == first)
			return NULL;
	}
	if (c < end && *c == 'e' && read_decimal_exponent(c + 1, end, &exponent))
		c = end;
	if (c != end)
		return NULL;
	trim_zeros(&decimal);
	if (decimal.ndigits > 0 && (exponent >= MAX_EXPONENT || exponent <= -MAX_EXPONENT))
		return NULL;
	decimal.point += exponent;
	return number_text(&decimal, number_length);
}

/* The exact text is the printed one unless that has zeros at its end, or an exponent is due. */
void
atlas_number_texts(Numeric numeric, AtlasNumberTexts *texts)
{
	AtlasDecimal decimal;

	atlas_numeric_to_decimal(numeric, &decimal);
	texts->exact = number_text(&decimal, &texts->exact_length);
	texts->printed = texts->exact;
	texts->printed_length = texts->exact_length;
	if (decimal.scale == Max(decimal.ndigits - decimal.point, 0) ||
		decimal.scale > decimal.ndigits + MAX_WRITTEN_ZEROS ||
		decimal.point > decimal.ndigits + MAX_WRITTEN_ZEROS)
		return;
	texts->printed = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(numeric)));
	texts->printed_length = strlen(texts->printed);
}
