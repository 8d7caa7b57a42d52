/*
 * fuzz_query.c
 *		The other fuzz target of script/fuzz: what people type into a search box, and what
 *		is written in events.
 *
 * Each input is a query, and is the name, the description and a value of an event as well.
 * Nothing of this may raise an error. PostgreSQL must accept the tsquery and the document when
 * it receives them from a client. The event must be found by its own text: by its words as a
 * phrase, by its name and by its value; and it must not be found where these are excluded. A
 * headline must be HTML with no other tags than marks.
 */
#include "postgres.h"

#include "fmgr.h"
#include "fuzz_check.h"
#include "fuzz_run.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "search/headline.h"
#include "search/query.h"

PG_FUNCTION_INFO_V1(atlas_fuzz_query);

/* An event that consists of the text. */
static void
make_event(AtlasDocumentSource *event, const char *text, Size size)
{
	JsonbParseState *state = NULL;
	JsonbValue	key = {.type = jbvString};
	JsonbValue	value = {.type = jbvString};

	key.val.string.val = "key";
	key.val.string.len = 3;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = size;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_VALUE, &value);
	event->tenant = cstring_to_text("tenant");
	event->object_type = cstring_to_text("CUSTOMER");
	event->name = cstring_to_text_with_len(text, size);
	event->description = event->name;
	event->payload = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Sends a value like to a client, and receives it again. It must be the same. */
static void
check_sent(Datum value, PGFunction send, PGFunction receive, const char *what)
{
	bytea	   *sent = DatumGetByteaPP(DirectFunctionCall1(send, value));
	StringInfoData message;
	struct varlena *received;

	initStringInfo(&message);
	appendBinaryStringInfo(&message, VARDATA_ANY(sent), VARSIZE_ANY_EXHDR(sent));
	received = (struct varlena *) DatumGetPointer(DirectFunctionCall1(receive, PointerGetDatum(&message)));
	if (VARSIZE(received) != VARSIZE(DatumGetPointer(value)) ||
		memcmp(received, DatumGetPointer(value), VARSIZE(received)) != 0)
		atlas_fuzz_fail("the %s is another one when it is received", what);
}

/* The query as documents of the event's tenant are compared with it. */
static TSQuery
parse(const char *text, int length, AtlasSearchQuery *query)
{
	static const char tenant[] = "tenant";

	atlas_parse_query(text, length, query);
	if (query->nterms > ATLAS_MAX_TERMS || query->nmarked > query->nterms || query->nleft_out < 0 ||
		(query->root == NULL) != (query->nterms == 0))
		atlas_fuzz_fail("%d terms, %d left out, %d marked", query->nterms, query->nleft_out, query->nmarked);
	return atlas_query_for(query, cstring_to_text_with_len(tenant, strlen(tenant)), NULL, NULL);
}

/* Must the document be found by the text between these two, in which quotes are doubled, and is it? */
static void
check_found(TSVector document, const char *before, const char *text, Size size, bool expected)
{
	StringInfoData string;
	AtlasSearchQuery query;
	TSQuery		tsquery;

	initStringInfo(&string);
	appendStringInfo(&string, "%s\"", before);
	for (Size i = 0; i < size; i++)
	{
		if (text[i] == '"')
			appendStringInfoChar(&string, '"');
		appendStringInfoChar(&string, text[i]);
	}
	appendStringInfoChar(&string, '"');
	tsquery = parse(string.data, string.len, &query);
	if (query.nterms > 0 &&
		DatumGetBool(DirectFunctionCall2(ts_match_vq, TSVectorGetDatum(document), TSQueryGetDatum(tsquery))) != expected)
		atlas_fuzz_fail("the event is %s by %s", expected ? "not found" : "found", string.data);
}

/* The event is found by its own text. In a phrase a quote would be the end, and so is a blank. */
static void
check_recall(const AtlasDocumentSource *event, TSVector document)
{
	const char *name = VARDATA_ANY(event->name);
	int			length = VARSIZE_ANY_EXHDR(event->name);
	char	   *phrase = pnstrdup(name, length);

	for (char *c = phrase; *c != '\0'; c++)
		if (*c == '"')
			*c = ' ';
	check_found(document, "", phrase, length, true);
	check_found(document, "-", phrase, length, false);
	check_found(document, "name:", name, length, true);
	check_found(document, "-name:", name, length, false);
	check_found(document, "key:", name, length, true);
	check_found(document, "-payload.key:", name, length, false);
}

/* A headline has no tags but marks, one after the other, and no quotes. */
static void
check_html(const text *headline)
{
	char	   *html = text_to_cstring(headline);
	int			nmarks = 0;

	for (char *c = html; *c != '\0'; c++)
	{
		if (strchr("\"'>", *c) != NULL)
			atlas_fuzz_fail("the headline is not escaped: %s", html);
		if (*c != '<')
			continue;
		if (strncmp(c, "<mark>", 6) != 0 || (c = strchr(c + 6, '<')) == NULL || strncmp(c, "</mark>", 7) != 0)
			atlas_fuzz_fail("the headline has other tags: %s", html);
		c += 6;
		nmarks++;
	}
	if (nmarks == 0)
		atlas_fuzz_fail("the headline has no marks: %s", html);
}

/* Looks at an input. */
static void
check_query(const char *text, Size size)
{
	AtlasSearchQuery query;
	AtlasDocumentSource event;
	TSVector	document;
	struct varlena *headline;

	check_sent(TSQueryGetDatum(parse(text, size, &query)), tsquerysend, tsqueryrecv, "tsquery");
	make_event(&event, text, size);
	document = atlas_make_document(&event);
	check_sent(TSVectorGetDatum(document), tsvectorsend, tsvectorrecv, "document");
	if (size > 0)
		check_recall(&event, document);
	headline = atlas_headline(&event, &query);
	if (headline != NULL)
		check_html(headline);
}

/* An error that is raised is a failure, whatever it says. */
static void
look_at_query(char *text, Size size)
{
	MemoryContext input_context = CurrentMemoryContext;

	atlas_fuzz_begin(pnstrdup(text, size));
	PG_TRY();
	{
		check_query(text, size);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(input_context);
		atlas_fuzz_fail("an error is raised: %s", CopyErrorData()->message);
	}
	PG_END_TRY();
}

/* The SQL function. */
Datum
atlas_fuzz_query(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(atlas_fuzz_run(PG_GETARG_ARRAYTYPE_P(0), look_at_query));
}
