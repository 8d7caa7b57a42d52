/*
 * jsonb_text.c
 *		Measures the text of jsonb, and gives jsonb a canonical form.
 *
 * Neither makes the text, because 1e131071 takes a few bytes in jsonb but 131072 in its
 * text. A number is looked at in its binary form on the wire, which numeric_send()
 * defines: digits of four decimal digits, without zeros at either end, the first of which
 * is multiplied by 10000 ^ weight. This would cost too much for ordinary numbers. So,
 * when they are measured, the short form of numeric is read as it is stored. The format
 * of data files does not change with the version of the server.
 *
 * The iterator of PostgreSQL that walks through jsonb keeps the levels of nesting in
 * memory and not on the stack.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/fmgrprotos.h"

#include "event/jsonb_text.h"

#define DECIMAL_DIGITS_OF_DIGIT 4

/* A number of jsonb as numeric_send() sends it. */
typedef struct WireNumber
{
	int16		ndigits;
	int16		weight;
	uint16		is_negative;	/* 0 or not: JSON has neither NaN nor infinity */
	int16		scale;			/* decimal digits after the point */
	const char *digits;			/* ndigits of int16, in network order */
	bytea	   *message;
} WireNumber;

static uint16
read_uint16(const char *bytes)
{
	uint16		value;

	memcpy(&value, bytes, sizeof(value));
	return pg_ntoh16(value);
}

/* Reads a number as it is sent on the wire. */
static WireNumber
begin_number(Numeric numeric)
{
	WireNumber	number;
	const char *data;

	number.message = DatumGetByteaPP(DirectFunctionCall1(numeric_send, NumericGetDatum(numeric)));
	data = VARDATA_ANY(number.message);
	number.ndigits = (int16) read_uint16(data);
	number.weight = (int16) read_uint16(data + 2);
	number.is_negative = read_uint16(data + 4);
	number.scale = (int16) read_uint16(data + 6);
	number.digits = data + 8;
	return number;
}

static void
end_number(WireNumber *number)
{
	pfree(number->message);
}

/* The number of bytes of a number as it is printed. first_digit is 0 if it has no digits. */
static Size
printed_number_length(bool is_negative, int weight, int scale, int first_digit)
{
	Size		length = 1;

	if (first_digit > 0 && weight >= 0)
	{
		length = (Size) weight * DECIMAL_DIGITS_OF_DIGIT;
		for (; first_digit > 0; first_digit /= 10)
			length++;
	}
	return length + (is_negative ? 1 : 0) + (scale > 0 ? 1 + scale : 0);
}

/* The short form of numeric: a header of 16 bits, and the digits. */
#define SHORT_FORM_MASK 0xC000
#define SHORT_FORM 0x8000
#define SHORT_SIGN 0x2000
#define SHORT_SCALE 0x1F80
#define SHORT_SCALE_SHIFT 7
#define SHORT_WEIGHT_SIGN 0x0040
#define SHORT_WEIGHT 0x003F

/* The number of bytes of a number as it is printed. */
static Size
number_length(Numeric numeric)
{
	const uint16 *stored = (const uint16 *) VARDATA_ANY(numeric);
	WireNumber	number;
	Size		length;

	if ((stored[0] & SHORT_FORM_MASK) == SHORT_FORM)
		return printed_number_length((stored[0] & SHORT_SIGN) != 0,
									 (stored[0] & SHORT_WEIGHT_SIGN) ? -1 : stored[0] & SHORT_WEIGHT,
									 (stored[0] & SHORT_SCALE) >> SHORT_SCALE_SHIFT,
									 VARSIZE_ANY_EXHDR(numeric) > sizeof(uint16) ? stored[1] : 0);
	number = begin_number(numeric);
	length = printed_number_length(number.is_negative != 0, number.weight, number.scale,
								   number.ndigits > 0 ? read_uint16(number.digits) : 0);
	end_number(&number);
	return length;
}

/* Writes digits of base 10000, without the zeros at either end. */
static void
set_decimal(AtlasDecimal *decimal, const int16 *stored, int nstored, int weight, bool is_network_order)
{
	char	   *digits = palloc(nstored * DECIMAL_DIGITS_OF_DIGIT + 1);
	int			length = 0;
	int			nzeros = 0;

	for (int i = 0; i < nstored; i++)
	{
		int			digit = is_network_order ? pg_ntoh16((uint16) stored[i]) : stored[i];

		digits[length++] = '0' + digit / 1000;
		digits[length++] = '0' + digit / 100 % 10;
		digits[length++] = '0' + digit / 10 % 10;
		digits[length++] = '0' + digit % 10;
	}
	while (length > 0 && digits[length - 1] == '0')
		length--;
	while (nzeros < length && digits[nzeros] == '0')
		nzeros++;
	decimal->digits = digits + nzeros;
	decimal->ndigits = length - nzeros;
	decimal->point = (weight + 1) * DECIMAL_DIGITS_OF_DIGIT - nzeros;
}

void
atlas_numeric_to_decimal(Numeric numeric, AtlasDecimal *decimal)
{
	const uint16 *stored = (const uint16 *) VARDATA_ANY(numeric);
	WireNumber	number;
	int			weight;

	if ((stored[0] & SHORT_FORM_MASK) == SHORT_FORM)
	{
		weight = stored[0] & SHORT_WEIGHT;
		if (stored[0] & SHORT_WEIGHT_SIGN)
			weight -= SHORT_WEIGHT + 1;
		decimal->is_negative = (stored[0] & SHORT_SIGN) != 0;
		decimal->scale = (stored[0] & SHORT_SCALE) >> SHORT_SCALE_SHIFT;
		set_decimal(decimal, (const int16 *) stored + 1,
					VARSIZE_ANY_EXHDR(numeric) / sizeof(int16) - 1, weight, false);
		return;
	}
	number = begin_number(numeric);
	decimal->is_negative = number.is_negative != 0;
	decimal->scale = number.scale;
	set_decimal(decimal, (const int16 *) number.digits, number.ndigits, number.weight, true);
	end_number(&number);
}

/* The number of bytes of a string within its quotes, as escape_json() writes it. */
static Size
string_length(const char *string, int length)
{
	Size		result = length;

	for (int i = 0; i < length; i++)
	{
		unsigned char c = string[i];

		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		if (c >= ' ' || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t')
			result += 1;		/* a backslash before one character */
		else
			result += 5;		/* \u00XX */
	}
	return result;
}

/* The number of bytes of a value that is neither an object nor an array. */
static Size
scalar_length(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return strlen("null");
		case jbvBool:
			return value->val.boolean ? strlen("true") : strlen("false");
		case jbvNumeric:
			return number_length(value->val.numeric);
		default:
			return 2 + string_length(value->val.string.val, value->val.string.len);
	}
}

/*
 * The number of bytes of the brackets around so many items or pairs, and of their
 * separators.
 */
static Size
brackets_length(int nitems)
{
	return 2 + 2 * Max(nitems - 1, 0);
}

Size
atlas_jsonb_text_length(JsonbContainer *jsonb)
{
	JsonbIterator *iterator = JsonbIteratorInit(jsonb);
	JsonbIteratorToken token;
	JsonbValue	value;
	Size		length = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_BEGIN_ARRAY)
			length += value.val.array.rawScalar ? 0 : brackets_length(value.val.array.nElems);
		else if (token == WJB_BEGIN_OBJECT)
			length += brackets_length(value.val.object.nPairs);
		else if (token == WJB_KEY)
			length += scalar_length(&value) + strlen(": ");
		else if (token == WJB_VALUE || token == WJB_ELEM)
			length += scalar_length(&value);
	}
	return length;
}

static void
take_uint32(uint32 value, AtlasTakeBytes take, void *taker)
{
	value = pg_hton32(value);
	take(taker, &value, sizeof(value));
}

/* Gives everything of a number but its scale to the taker, because 50.0 equals 50. */
static void
take_number(Numeric numeric, AtlasTakeBytes take, void *taker)
{
	WireNumber	number = begin_number(numeric);

	take_uint32((uint16) number.ndigits, take, taker);
	take_uint32(((uint32) (uint16) number.weight << 16) | number.is_negative, take, taker);
	take(taker, number.digits, number.ndigits * sizeof(int16));
	end_number(&number);
}

/* Gives a value that is neither an object nor an array to the taker, with its type. */
static void
take_scalar(const JsonbValue *value, AtlasTakeBytes take, void *taker)
{
	char		type = (char) value->type;

	take(taker, &type, sizeof(type));
	switch (value->type)
	{
		case jbvNull:
			break;
		case jbvBool:
			take(taker, value->val.boolean ? "t" : "f", 1);
			break;
		case jbvNumeric:
			take_number(value->val.numeric, take, taker);
			break;
		default:
			take_uint32(value->val.string.len, take, taker);
			take(taker, value->val.string.val, value->val.string.len);
			break;
	}
}

/* In jsonb the keys of an object are sorted, and no two are the same. */
void
atlas_jsonb_canonical(JsonbContainer *jsonb, AtlasTakeBytes take, void *taker)
{
	JsonbIterator *iterator = JsonbIteratorInit(jsonb);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_BEGIN_ARRAY)
		{
			take(taker, value.val.array.rawScalar ? "s" : "[", 1);
			take_uint32(value.val.array.nElems, take, taker);
		}
		else if (token == WJB_BEGIN_OBJECT)
		{
			take(taker, "{", 1);
			take_uint32(value.val.object.nPairs, take, taker);
		}
		else if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM)
			take_scalar(&value, take, taker);
	}
}
