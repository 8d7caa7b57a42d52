/*
 * id_value.c
 *		Ids of the object tables, from text.
 *
 * One malformed text must not abort a lookup of a thousand, and the input
 * functions of PostgreSQL 15 raise errors; so the form is checked here. Being
 * strict also makes sure that an id has one form only, which is stored.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "event_id.h"
#include "id_value.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/uuid.h"

Oid
atlas_id_base_type(Oid type)
{
	Oid			base = getBaseType(type);

	switch (base)
	{
		case UUIDOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case TEXTOID:
		case VARCHAROID:
			return base;
		default:
			return InvalidOid;
	}
}

Oid
atlas_id_operator_type(Oid base_type)
{
	return base_type == VARCHAROID ? TEXTOID : base_type;
}

static bool
uuid_from_text(const char *string, int length, Datum *value)
{
	pg_uuid_t  *uuid;
	int			digits = 0;

	if (length != 36)
		return false;
	uuid = palloc0(sizeof(pg_uuid_t));
	for (int i = 0; i < length; i++)
	{
		char		c = pg_ascii_tolower((unsigned char) string[i]);
		int			digit;

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (c != '-')
				return false;
			continue;
		}
		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else
			return false;
		uuid->data[digits / 2] |= digits % 2 == 0 ? digit << 4 : digit;
		digits++;
	}
	*value = UUIDPGetDatum(uuid);
	return true;
}

static bool
integer_from_text(const char *string, int length, int64 min, int64 max, int64 *value)
{
	bool		negative = length > 0 && string[0] == '-';
	int			first = negative ? 1 : 0;
	int64		result = 0;

	/* 19 digits hold every int8; a leading zero stands alone or not at all */
	if (length == first || length - first > 19 ||
		(string[first] == '0' && length > 1))
		return false;
	for (int i = first; i < length; i++)
	{
		if (string[i] < '0' || string[i] > '9' ||
			pg_mul_s64_overflow(result, 10, &result) ||
			pg_sub_s64_overflow(result, string[i] - '0', &result))
			return false;
	}
	/* The sum was negative, where the range is larger by one. */
	if (!negative)
	{
		if (result == PG_INT64_MIN)
			return false;
		result = -result;
	}
	*value = result;
	return result >= min && result <= max;
}

bool
atlas_id_from_text(Oid base_type, const char *string, int length, Datum *value)
{
	int64		integer;

	switch (base_type)
	{
		case UUIDOID:
			return uuid_from_text(string, length, value);
		case INT2OID:
			if (!integer_from_text(string, length, PG_INT16_MIN, PG_INT16_MAX, &integer))
				return false;
			*value = Int16GetDatum((int16) integer);
			return true;
		case INT4OID:
			if (!integer_from_text(string, length, PG_INT32_MIN, PG_INT32_MAX, &integer))
				return false;
			*value = Int32GetDatum((int32) integer);
			return true;
		case INT8OID:
			if (!integer_from_text(string, length, PG_INT64_MIN, PG_INT64_MAX, &integer))
				return false;
			*value = Int64GetDatum(integer);
			return true;
		case TEXTOID:
		case VARCHAROID:
			*value = PointerGetDatum(cstring_to_text_with_len(string, length));
			return true;
		default:
			return false;
	}
}

text *
atlas_id_to_text(Oid base_type, Datum value)
{
	char		string[MAXINT8LEN + 1];

	switch (base_type)
	{
		case UUIDOID:
			return cstring_to_text(atlas_event_id_string(DatumGetUUIDP(value)));
		case INT2OID:
			pg_itoa(DatumGetInt16(value), string);
			break;
		case INT4OID:
			pg_ltoa(DatumGetInt32(value), string);
			break;
		case INT8OID:
			pg_lltoa(DatumGetInt64(value), string);
			break;
		default:
			return DatumGetTextPCopy(value);
	}
	return cstring_to_text(string);
}
