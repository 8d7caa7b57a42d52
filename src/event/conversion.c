/*
 * conversion.c
 *		Text and JSON of a request, converted without raising an error.
 *
 * A character that a database cannot represent, or bytes that are not a character, are
 * a problem of one event, and must not end a call that has others. The conversions of
 * encodings can be asked not to raise errors. The input function of jsonb raises errors
 * even where it can be asked not to (from PostgreSQL 16 on): for nesting that is too deep
 * for the stack.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "event/conversion.h"

/*
 * Converts in either direction. In SQL_ASCII a text may have any bytes, and those that
 * are UTF-8 are taken.
 */
static char *
convert(const char *string, Size length, int from, int to, Size *result_length)
{
	int			encoding = GetDatabaseEncoding();
	Oid			conversion;
	Size		room = (length + 1) * MAX_CONVERSION_GROWTH + 1;
	char	   *result;

	*result_length = length;
	if (encoding == PG_UTF8)
		return unconstify(char *, string);
	if (encoding == PG_SQL_ASCII)
		return pg_verify_mbstr(PG_UTF8, string, length, true) ? unconstify(char *, string) : NULL;
	conversion = FindDefaultConversionProc(from, to);
	if (!OidIsValid(conversion))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("default conversion function for encoding \"%s\" to \"%s\" does not exist",
						pg_encoding_to_char(from), pg_encoding_to_char(to))));
	result = palloc(room);
	if (pg_do_encoding_conversion_buf(conversion, from, to, (unsigned char *) string, length,
									  (unsigned char *) result, room, true) != length)
	{
		pfree(result);
		return NULL;
	}
	*result_length = strlen(result);
	return result;
}

char *
atlas_to_utf8(const char *string, Size length, Size *utf8_length)
{
	return convert(string, length, GetDatabaseEncoding(), PG_UTF8, utf8_length);
}

char *
atlas_from_utf8(const char *utf8, Size length, Size *string_length)
{
	return convert(utf8, length, PG_UTF8, GetDatabaseEncoding(), string_length);
}

text *
atlas_text_from_utf8(const char *utf8, Size length)
{
	Size		string_length;
	char	   *string = atlas_from_utf8(utf8, length, &string_length);
	text	   *result;

	if (string == NULL)
		return NULL;
	result = cstring_to_text_with_len(string, string_length);
	if (string != utf8)
		pfree(string);
	return result;
}

/*
 * Reads jsonb. Returns NULL and the reason if the input function raises an error.
 *
 * The error is caught without a subtransaction. That is safe because nothing but
 * memory is used between here and there: jsonb_in() parses, numeric_in() and the
 * conversion of \u escapes, whose function was looked up when the session began,
 * compute. There is no access to a catalog or a relation, no snapshot, no lock and
 * nothing that a resource owner keeps. Any other error (a cancel, running out of memory)
 * is raised again.
 */
static Jsonb *
parse_jsonb(char *string, MemoryContext context, const char **reason)
{
	Jsonb	   *volatile result = NULL;

	PG_TRY();
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(string)));
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		/* The last of these: a \u escape for which the database has no character. */
		if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_PROGRAM_LIMIT_EXCEEDED &&
			category != ERRCODE_FEATURE_NOT_SUPPORTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		*reason = error->detail ? psprintf("%s: %s", error->message, error->detail)
			: error->message;
	}
	PG_END_TRY();
	return result;
}

Jsonb *
atlas_jsonb_from_utf8(const char *utf8, Size length, const char **reason)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext scratch;
	Size		string_length;
	char	   *string = atlas_from_utf8(utf8, length, &string_length);
	Jsonb	   *result;

	if (string == NULL)
	{
		*reason = GetDatabaseEncoding() == PG_SQL_ASCII ? "has bytes that are no UTF-8" :
			"has a character that the encoding of the database does not have";
		return NULL;
	}

	/* The parser leaves behind many times the size of its result, which is freed at once. */
	scratch = AllocSetContextCreate(context, "atlas_events conversion", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	result = parse_jsonb(pnstrdup(string, string_length), context, reason);
	MemoryContextSwitchTo(context);
	if (result != NULL)
		result = memcpy(palloc(VARSIZE(result)), result, VARSIZE(result));
	MemoryContextDelete(scratch);
	if (string != utf8)
		pfree(string);
	return result;
}
