/*
 * id_value.c
 *		Ids of the object tables, from text.
 *
 * One malformed text must not abort a lookup of a thousand, but the input functions
 * of PostgreSQL 15 raise errors. So the form of a text is checked here. The checks are
 * strict, so that an id has only one form, which is the one that is stored.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/int.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "base/event_id.h"
#include "objects/id_value.h"

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
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return base;
		default:
			return InvalidOid;
	}
}

/* Is a text column of a function, as pg_proc has it, equal to this string? */
static bool
text_equals(HeapTuple function, AttrNumber column, const char *expected)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(PROCOID, function, column, &isnull);

	return !isnull && strcmp(TextDatumGetCString(value), expected) == 0;
}

/*
 * Is this the function of that name from the library citext? Membership in the extension
 * would prove nothing, because its owner can add members.
 */
static bool
is_function_of_citext(Oid function, const char *symbol)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	result = form->prolang == ClanguageId && !form->prosecdef &&
		heap_attisnull(tuple, Anum_pg_proc_proconfig, NULL) &&
		text_equals(tuple, Anum_pg_proc_probin, "$libdir/citext") &&
		text_equals(tuple, Anum_pg_proc_prosrc, symbol);
	ReleaseSysCache(tuple);
	return result;
}

/* Is it the type citext? Its values are compared by the functions of that library. */
static bool
is_citext(Oid type)
{
	Oid			opclass = GetDefaultOpClass(type, BTREE_AM_OID);
	Oid			family;

	if (!OidIsValid(opclass) || get_opclass_input_type(opclass) != type)
		return false;
	family = get_opclass_family(opclass);
	return is_function_of_citext(get_opfamily_proc(family, type, type, 1), "citext_cmp") &&
		is_function_of_citext(get_opcode(get_opfamily_member(family, type, type,
															 BTEqualStrategyNumber)), "citext_eq");
}

Oid
atlas_external_id_base_type(Oid type)
{
	Oid			base = atlas_id_base_type(type);

	if (OidIsValid(base))
		return base;
	base = getBaseType(type);
	return is_citext(base) ? base : InvalidOid;
}

const char *
atlas_id_type_problem(Oid type, int32 typmod)
{
	Oid			base = getBaseTypeAndTypmod(type, &typmod);

	/* numeric.c packs the scale into 11 bits of the typmod; it may be negative. */
	if (base == NUMERICOID && typmod >= (int32) VARHDRSZ &&
		(((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024 > 0)
		return "An id of type numeric is a whole number: declare the column without a scale, as numeric(p), numeric or bigint.";
	return NULL;
}

/* varchar has no operators of its own and is compared as text. */
Oid
atlas_id_operator_type(Oid base_type)
{
	return base_type == VARCHAROID ? TEXTOID : base_type;
}

/* Reads the canonical form of a uuid: 36 characters, with hyphens in their places. */
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

/* Reads a whole number within a range, without blanks, plus sign or leading zeros. */
static bool
integer_from_text(const char *string, int length, int64 min, int64 max, int64 *value)
{
	bool		negative = length > 0 && string[0] == '-';
	int			first = negative ? 1 : 0;
	int64		result = 0;

	/* 19 digits hold every int8. A zero is the first digit only of 0 itself. */
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
	/* So far it is negative, because the range is larger by one on that side. */
	if (!negative)
	{
		if (result == PG_INT64_MIN)
			return false;
		result = -result;
	}
	*value = result;
	return result >= min && result <= max;
}

/* Reads a whole number of any size, without leading zeros. */
static bool
numeric_from_text(const char *string, int length, Datum *value)
{
	int			first = length > 0 && string[0] == '-' ? 1 : 0;

	if (length == first || (string[first] == '0' && length > 1))
		return false;
	for (int i = first; i < length; i++)
		if (string[i] < '0' || string[i] > '9')
			return false;
	*value = DirectFunctionCall3(numeric_in, CStringGetDatum(pnstrdup(string, length)),
								 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	return true;
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
		case NUMERICOID:
			return numeric_from_text(string, length, value);
		case BPCHAROID:
			/* Blanks at the end are padding, so no id has them. */
			if (length > 0 && string[length - 1] == ' ')
				return false;
			break;
		default:
			break;
	}
	*value = PointerGetDatum(cstring_to_text_with_len(string, length));
	return true;
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
		case NUMERICOID:
			return cstring_to_text(DatumGetCString(DirectFunctionCall1(numeric_out, value)));
		case BPCHAROID:
			return (text *) DatumGetPointer(DirectFunctionCall1(rtrim1, value));
		default:
			return DatumGetTextPCopy(value);
	}
	return cstring_to_text(string);
}

/* Types that are not part of PostgreSQL are citext, which folds case as it is done here. */
text *
atlas_id_normalised(Oid base_type, text *id)
{
	if (base_type == UUIDOID)
	{
		Datum		value;

		return uuid_from_text(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), &value) ?
			atlas_id_to_text(UUIDOID, value) : id;
	}
	if (base_type < FirstNormalObjectId)
		return id;
	return cstring_to_text(str_tolower(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id),
									   DEFAULT_COLLATION_OID));
}
