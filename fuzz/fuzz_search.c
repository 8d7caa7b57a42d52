/*
 * fuzz_search.c
 *		The part of the fuzz target that searches: queries, documents, headlines.
 *
 * The first line is a query, and the name of an event as well. What follows is its
 * payload if it is a JSON object, or else its description. Nothing may raise an error. What
 * is made must be what PostgreSQL reads again as the same tsvector and tsquery. An event must be found
 * by its own name as a phrase, and a headline must be HTML that has no tags but marks.
 */
#include "postgres.h"

#include "fmgr.h"
#include "fuzz_check.h"
#include "fuzz_search.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "search/document.h"
#include "search/headline.h"
#include "search/query.h"

/* Must be the same after it was written and read again. */
static void
check_round_trip(const char *what, Datum value, PGFunction output, PGFunction input, PGFunction equals)
{
	char	   *written = DatumGetCString(DirectFunctionCall1(output, value));
	ErrorData  *error;
	Datum		again = atlas_fuzz_input(input, written, &error);

	if (error != NULL)
		atlas_fuzz_fail("the %s %s cannot be read: %s", what, written, error->message);
	if (!DatumGetBool(DirectFunctionCall2(equals, value, again)))
		atlas_fuzz_fail("the %s %s is another one when it is read", what, written);
}

/* The query as documents are compared with it. */
static TSQuery
parse_query(const char *text, int length, AtlasSearchQuery *query)
{
	TSQuery		tsquery;

	atlas_parse_query(text, length, query);
	if (query->nterms > ATLAS_MAX_TERMS || query->nmarked > ATLAS_MAX_TERMS)
		atlas_fuzz_fail("%d terms and %d marks", query->nterms, query->nmarked);
	tsquery = atlas_query_for(query, cstring_to_text(""), NULL, NULL);
	check_round_trip("query", TSQueryGetDatum(tsquery), tsqueryout, tsqueryin, tsquery_eq);
	return tsquery;
}

static bool
matches(TSVector document, TSQuery query)
{
	return DatumGetBool(DirectFunctionCall2(ts_match_vq, TSVectorGetDatum(document), TSQueryGetDatum(query)));
}

/* The name as a phrase must find the event, unless words of it are too far from each other. */
static void
check_finds_itself(TSVector document, const char *name, int length)
{
	char	   *phrase = psprintf("\"%.*s\"", length, name);
	AtlasSearchQuery query;

	/* Quotes in it would end the phrase. */
	for (int i = 1; i <= length; i++)
	{
		if (phrase[i] == '"')
			phrase[i] = ' ';
	}
	if (!matches(document, parse_query(phrase, length + 2, &query)))
		atlas_fuzz_fail("%s does not find itself", phrase);
}

/* Everything but marks, which come in pairs, is escaped. */
static void
check_headline(const char *headline)
{
	bool		is_open = false;

	for (const char *c = headline; *c != '\0'; c++)
	{
		const char *tag = is_open ? "</mark>" : "<mark>";

		if (*c == '>' || *c == '"')
			atlas_fuzz_fail("the headline is not escaped: %s", headline);
		if (*c != '<')
			continue;
		if (strncmp(c, tag, strlen(tag)) != 0)
			atlas_fuzz_fail("the headline has another tag: %s", headline);
		is_open = !is_open;
		c += strlen(tag) - 1;
	}
	if (is_open)
		atlas_fuzz_fail("the headline has an open mark: %s", headline);
}

/* What is found of the input. The texts are of the size that they have, so that reading too far is noticed. */
static void
make_source(AtlasDocumentSource *source, const char *name, int name_length, const char *rest)
{
	ErrorData  *error;
	Datum		payload = atlas_fuzz_input(jsonb_in, rest, &error);

	memset(source, 0, sizeof(AtlasDocumentSource));
	source->tenant = cstring_to_text("");
	source->object_type = cstring_to_text("CUSTOMER");
	source->name = cstring_to_text_with_len(name, name_length);
	if (error == NULL && JB_ROOT_IS_OBJECT(DatumGetJsonbP(payload)))
		source->payload = DatumGetJsonbP(payload);
	else
		source->description = cstring_to_text(rest);
}

void
atlas_fuzz_search(const char *input, Size size)
{
	const char *end = memchr(input, '\n', size);
	int			length = end != NULL ? end - input : size;
	char	   *rest = end != NULL ? pnstrdup(end + 1, size - length - 1) : pstrdup("");
	AtlasDocumentSource source;
	AtlasSearchQuery query;
	TSVector	document;
	TSQuery		tsquery;
	text	   *headline;

	make_source(&source, input, length, rest);
	document = atlas_make_document(&source);
	check_round_trip("document", TSVectorGetDatum(document), tsvectorout, tsvectorin, tsvector_eq);
	tsquery = parse_query(input, length, &query);
	(void) matches(document, tsquery);
	check_finds_itself(document, input, length);
	headline = atlas_headline(&source, &query);
	if (headline != NULL)
		check_headline(text_to_cstring(headline));
}
