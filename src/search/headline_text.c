/*
 * headline_text.c
 *		Takes the texts of an event for its headline: the name, the description, the payload.
 *
 * They are given one after the other, and all of them together are no longer than
 * atlas_events.search_text_limit. What is longer is cut at a character.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/encoding.h"
#include "search/headline_text.h"
#include "search/html_text.h"

/* The payload while it becomes a text. */
typedef struct PayloadText
{
	AtlasHeadlineTexts *texts;
	StringInfoData text;
	AtlasHeadlinePart *parts;
	int			nparts;
	const JsonbValue *written_key;	/* of the value that was written last */
} PayloadText;

void
atlas_headline_texts_begin(AtlasHeadlineTexts *texts, const AtlasDocumentSource *event)
{
	texts->event = event;
	texts->next = 0;
	texts->bytes_left = atlas_search_text_limit;
}

/* How many of these bytes may still be looked at? They count from now on. */
static int
take_length(AtlasHeadlineTexts *texts, const char *text, int length)
{
	if (length > texts->bytes_left)
		length = atlas_clipped_length(text, length, texts->bytes_left);
	texts->bytes_left -= length;
	return length;
}

/* A text that is looked at as a whole. */
static void
whole_text(AtlasHeadlineText *result, const char *text, int length)
{
	result->text = text;
	result->length = length;
	result->parts = palloc(sizeof(AtlasHeadlinePart));
	result->parts[0] = (AtlasHeadlinePart) {0, length};
	result->nparts = 1;
}

static void
take_name(AtlasHeadlineTexts *texts, AtlasHeadlineText *result)
{
	const char *name = VARDATA_ANY(texts->event->name);

	whole_text(result, name, take_length(texts, name, VARSIZE_ANY_EXHDR(texts->event->name)));
}

static void
take_description(AtlasHeadlineTexts *texts, AtlasHeadlineText *result)
{
	const char *html = "";
	int			length = 0;
	const char *plain;

	if (texts->event->description != NULL)
	{
		html = VARDATA_ANY(texts->event->description);
		length = take_length(texts, html, VARSIZE_ANY_EXHDR(texts->event->description));
	}
	plain = atlas_html_text(html, length, &length);
	whole_text(result, plain, length);
}

/* Writes a value, behind its key unless it follows another value of the same array. */
static void
write_value(PayloadText *payload, const JsonbValue *key, const char *value, int length)
{
	int			taken = take_length(payload->texts, value, length);

	if (taken == 0)
		return;
	if (payload->text.len > 0)
		appendStringInfoString(&payload->text, ", ");
	if (key != NULL && key != payload->written_key)
	{
		int			key_length = take_length(payload->texts, key->val.string.val, key->val.string.len);

		appendBinaryStringInfo(&payload->text, key->val.string.val, key_length);
		appendStringInfoString(&payload->text, ": ");
	}
	payload->written_key = key;
	if ((payload->nparts & (payload->nparts - 1)) == 0)
		payload->parts = payload->parts == NULL ? palloc(sizeof(AtlasHeadlinePart)) :
			repalloc(payload->parts, sizeof(AtlasHeadlinePart) * 2 * payload->nparts);
	payload->parts[payload->nparts++] = (AtlasHeadlinePart)
	{
		payload->text.len, payload->text.len + taken
	};
	appendBinaryStringInfo(&payload->text, value, taken);
}

/* Writes a string, a number or a boolean. */
static void
write_scalar(PayloadText *payload, const JsonbValue *key, const JsonbValue *value)
{
	if (value->type == jbvString)
		write_value(payload, key, value->val.string.val, value->val.string.len);
	else if (value->type == jbvNumeric)
	{
		char	   *number = DatumGetCString(DirectFunctionCall1(numeric_out,
																 NumericGetDatum(value->val.numeric)));

		write_value(payload, key, number, strlen(number));
	}
	else if (value->type == jbvBool)
		write_value(payload, key, value->val.boolean ? "true" : "false",
				  value->val.boolean ? 4 : 5);
}

/* Walks through the payload. The key of a value in an array is that of the array. */
static void
take_payload(AtlasHeadlineTexts *texts, AtlasHeadlineText *result)
{
	PayloadText payload = {texts};
	JsonbIterator *iterator = texts->event->payload == NULL ? NULL :
		JsonbIteratorInit(&texts->event->payload->root);
	List	   *keys = NIL;		/* of what is open, the innermost last */
	const JsonbValue *key = NULL;
	JsonbValue	value;
	JsonbIteratorToken token;

	initStringInfo(&payload.text);
	while (iterator != NULL && texts->bytes_left > 0 &&
		   (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT)
			keys = lappend(keys, unconstify(JsonbValue *, key));
		else if (token == WJB_END_ARRAY || token == WJB_END_OBJECT)
		{
			key = keys != NIL ? llast(keys) : NULL;
			keys = list_delete_last(keys);
		}
		else if (token == WJB_KEY)
		{
			JsonbValue *copy = palloc(sizeof(JsonbValue));

			*copy = value;
			key = copy;
		}
		else
			write_scalar(&payload, key, &value);
	}
	*result = (AtlasHeadlineText) {payload.text.data, payload.text.len, payload.parts, payload.nparts};
}

bool
atlas_headline_texts_next(AtlasHeadlineTexts *texts, AtlasHeadlineText *text)
{
	static void (*const takers[]) (AtlasHeadlineTexts *, AtlasHeadlineText *) = {
		take_name, take_description, take_payload
	};

	if (texts->next == lengthof(takers))
		return false;
	takers[texts->next++] (texts, text);
	return true;
}
