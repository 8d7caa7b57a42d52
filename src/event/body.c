/*
 * body.c
 *		A request body, or an event in it: its encoding, and places for people.
 *
 * A body comes in the server's encoding and is parsed as UTF-8. The events of an array
 * are converted one by one, so that only the one that cannot be converted is refused. In
 * SQL_ASCII nobody has looked at the bytes yet: jansson and jsonb refuse those that are
 * not UTF-8.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "event/body.h"
#include "event/conversion.h"

#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

const char *
atlas_skip_byte_order_mark(const char *json, Size *length)
{
	int			encoding = GetDatabaseEncoding();

	if ((encoding != PG_UTF8 && encoding != PG_SQL_ASCII) ||
		*length < strlen(BYTE_ORDER_MARK) ||
		memcmp(json, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) != 0)
		return json;
	*length -= strlen(BYTE_ORDER_MARK);
	return json + strlen(BYTE_ORDER_MARK);
}

AtlasBody
atlas_body(const char *source, Size length, AtlasCounted *counted)
{
	AtlasBody	body = {source, source, length, counted};

	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		body.json = atlas_to_utf8(source, length, &body.length);
	return body;
}

/* The number of bytes of the character that begins here. SQL_ASCII is taken for UTF-8. */
static int
character_length(const char *c, int encoding)
{
	return pg_encoding_mblen(encoding == PG_SQL_ASCII ? PG_UTF8 : encoding, c);
}

/* Counts lines and columns from one place to another. */
static void
move_on(AtlasPlace *place, const char *from, const char *to, int encoding)
{
	for (const char *c = from; c < to; c += character_length(c, encoding))
	{
		if (*c == '\n')
		{
			place->line++;
			place->column = 0;
		}
		else
			place->column++;
	}
}

/*
 * Counts on from the last event that was asked for, so that a call with many wrong
 * events does not count the same lines again and again.
 */
char *
atlas_place_in(const AtlasBody *body, int64 position)
{
	AtlasCounted *counted = body->counted;
	AtlasPlace	place;

	move_on(&counted->place, counted->source, body->source, GetDatabaseEncoding());
	counted->source = body->source;
	place = counted->place;
	if (body->json != NULL)
		move_on(&place, body->json, body->json + Min(Max(position, 0), body->length), PG_UTF8);
	return psprintf("line %d, column %d", place.line, place.column);
}

/*
 * What jansson says, without the excerpt, which may cut a character in two, and without
 * the names of its flags.
 */
static char *
words_of_parser(const json_error_t *parse_error)
{
	static const char *const endings[] = {" near '", " without JSON_"};
	char	   *reason = pstrdup(parse_error->text);

	for (int i = 0; i < lengthof(endings); i++)
	{
		char	   *ending = strstr(reason, endings[i]);

		if (ending != NULL)
			*ending = '\0';
	}
	return reason;
}

void
atlas_report_malformed(AtlasError *error, const AtlasBody *body, const json_error_t *parse_error)
{
	atlas_add_problem(error,
					  json_error_code(parse_error) == json_error_duplicate_key ?
					  "duplicate_key" : "malformed_json",
					  "", "%s: %s", atlas_place_in(body, parse_error->position), words_of_parser(parse_error));
}

