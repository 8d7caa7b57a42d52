/*
 * utf8_text.c
 *		A text of the server as UTF-8, and back, whatever is in it.
 *
 * Most databases have the encoding UTF8, and nothing is converted. In the others, runs of
 * characters that are not of ASCII are converted one by one, because where each of them
 * stands in the text must be known for headlines, and because a character that cannot be
 * converted must not take the others with it.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "search/utf8_text.h"

/* Bytes that are converted at once. */
#define MAX_RUN 64

/* A conversion under way. */
typedef struct Conversion
{
	Oid			procedure;		/* invalid if there is none: then nothing but ASCII can be read */
	const char *text;
	char	   *utf8;
	int		   *offsets;
	int			length;			/* of utf8 so far */
} Conversion;

bool
atlas_utf8_is_foreign(void)
{
	return GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;
}

static bool
is_ascii(const char *text, int length)
{
	for (int i = 0; i < length; i++)
		if (IS_HIGHBIT_SET(text[i]))
			return false;
	return true;
}

/* Converts all of it, or returns -1. The result has room for it. */
static int
convert_all(Oid procedure, int from, int to, const char *source, int length, char *result, int room)
{
	if (!OidIsValid(procedure) ||
		pg_do_encoding_conversion_buf(procedure, from, to, (unsigned char *) unconstify(char *, source),
									  length, (unsigned char *) result, room, true) != length)
		return -1;
	return strlen(result);
}

/* The length of the character at this place, which may be cut off by the end. */
static int
server_character_length(const char *text, int start, int end)
{
	return Min(pg_encoding_mblen(GetDatabaseEncoding(), text + start), end - start);
}

/* Appends some bytes of UTF-8 that come from this place of the text. */
static void
append_converted(Conversion *conversion, const char *utf8, int length, int offset)
{
	for (int i = 0; i < length; i++)
	{
		conversion->offsets[conversion->length] = offset;
		conversion->utf8[conversion->length++] = utf8[i];
	}
}

/* The number of characters of valid UTF-8. */
static int
count_utf8(const char *utf8, int length)
{
	int			ncharacters = 0;

	for (int i = 0; i < length; i++)
		if ((utf8[i] & 0xC0) != 0x80)
			ncharacters++;
	return ncharacters;
}

/* Appends a run, if its characters are as many in UTF-8. Returns false if they are not. */
static bool
append_run(Conversion *conversion, int start, int end, const char *utf8, int length)
{
	int			ncharacters = 0;
	int			next = 0;

	for (int i = start; i < end; i += server_character_length(conversion->text, i, end))
		ncharacters++;
	if (count_utf8(utf8, length) != ncharacters)
		return false;
	for (int i = start; i < end; i += server_character_length(conversion->text, i, end))
	{
		int			width = pg_utf_mblen((const unsigned char *) utf8 + next);

		append_converted(conversion, utf8 + next, width, i);
		next += width;
	}
	return true;
}

/* Converts a run of characters beyond ASCII, one by one if they cannot be converted at once. */
static void
convert_run(Conversion *conversion, int start, int end)
{
	char		utf8[MAX_RUN * MAX_CONVERSION_GROWTH + 1];
	int			length;

	length = convert_all(conversion->procedure, GetDatabaseEncoding(), PG_UTF8,
						 conversion->text + start, end - start, utf8, sizeof(utf8));
	if (length >= 0 && append_run(conversion, start, end, utf8, length))
		return;
	while (start < end)
	{
		int			width = server_character_length(conversion->text, start, end);

		length = convert_all(conversion->procedure, GetDatabaseEncoding(), PG_UTF8,
							 conversion->text + start, width, utf8, sizeof(utf8));
		if (length > 0)
			append_converted(conversion, utf8, length, start);
		else
			append_converted(conversion, " ", 1, start);
		start += width;
	}
}

/* The end of the run of characters beyond ASCII that begins here. */
static int
end_of_run(const char *text, int start, int length)
{
	int			end = start;

	while (end < length && IS_HIGHBIT_SET(text[end]))
	{
		int			width = server_character_length(text, end, length);

		if (end > start && end + width - start > MAX_RUN)
			break;
		end += width;
	}
	return end;
}

void
atlas_to_utf8_text(const char *text, int length, AtlasUtf8Text *utf8)
{
	Size		room = (Size) length * MAX_CONVERSION_GROWTH + 1;
	Conversion	conversion;
	int			i = 0;

	utf8->text = text;
	utf8->length = length;
	utf8->offsets = NULL;
	if (!atlas_utf8_is_foreign() || is_ascii(text, length))
		return;
	conversion.procedure = FindDefaultConversionProc(GetDatabaseEncoding(), PG_UTF8);
	conversion.text = text;
	conversion.utf8 = palloc_extended(room, MCXT_ALLOC_HUGE);
	conversion.offsets = palloc_extended(room * sizeof(int), MCXT_ALLOC_HUGE);
	conversion.length = 0;
	while (i < length)
	{
		int			end;

		CHECK_FOR_INTERRUPTS();
		if (!IS_HIGHBIT_SET(text[i]))
		{
			append_converted(&conversion, text + i, 1, i);
			i++;
			continue;
		}
		end = end_of_run(text, i, length);
		convert_run(&conversion, i, end);
		i = end;
	}
	conversion.offsets[conversion.length] = length;
	utf8->text = conversion.utf8;
	utf8->length = conversion.length;
	utf8->offsets = conversion.offsets;
}

const char *
atlas_from_utf8_text(const char *utf8, int length, int *text_length)
{
	char	   *text;
	int			room = length * MAX_CONVERSION_GROWTH + 1;

	*text_length = length;
	if (!atlas_utf8_is_foreign() || is_ascii(utf8, length))
		return utf8;
	text = palloc(room);
	*text_length = convert_all(FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding()), PG_UTF8,
							   GetDatabaseEncoding(), utf8, length, text, room);
	return *text_length < 0 ? NULL : text;
}
