/*
 * document.c
 *		The document by which an event is found.
 *
 * It is a tsvector of words (see words.c), which have positions and the weight of the
 * field that they stand in, and of exact lexemes (see lexemes.c), which have none.
 * Tenant, type and name come first and are always there. Then come the words of the name
 * (weight A), of the description (B) and of the values of the payload (C), each field at
 * a distance from the one before it, so that no phrase begins in one and ends in another.
 *
 * A value of the payload is found by its key, and by all keys that lead to it if these
 * are several: "id" and "macro.id". Elements of an array are found by the key of the
 * array.
 *
 * Three limits bound what an event costs: atlas_search_text_limit bytes are cut into
 * words, MAX_FIELDS values are found by their keys, and keys or paths of more than
 * MAX_KEY bytes are none to find something by. What is over a limit is left out, and the
 * rest is found.
 *
 * The iterator of PostgreSQL that walks through jsonb keeps the levels of nesting in
 * memory and not on the stack, and so does the path that leads to a value.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/encoding.h"
#include "search/document.h"
#include "search/html_text.h"
#include "search/lexeme_list.h"
#include "search/lexemes.h"
#include "search/number.h"
#include "search/words.h"

#define MAX_FIELDS 200
#define MAX_KEY 255
#define GAP 10					/* positions between two fields */

/* Bytes that words leave to the exact lexemes: two for each value. */
#define RESERVED (MAX_FIELDS * 2 * (ATLAS_MAX_VALUE_LEXEME + 8))

int			atlas_search_text_limit = 16 * 1024;

typedef struct Document
{
	AtlasLexemeList lexemes;
	int			text_left;		/* bytes that may still be cut into words */
	int			fields_left;	/* values that may still be found by their keys */
	int			position;		/* of the first word of the next field, from 1 */
} Document;

/* An object or array that is being walked through, and the keys that lead to it. */
typedef struct Level
{
	int			path_length;
	int			key_start;
	bool		has_key;
} Level;

/* The keys, folded, that lead to the current value. */
typedef struct Path
{
	StringInfoData keys;		/* with dots between them */
	int			key_start;		/* where the last of them begins */
	bool		has_key;
	Level	   *levels;
	int			nlevels;
	int			room;
} Path;

/* Adds the words of a field. */
static void
add_words(Document *document, const char *text, int length, int weight)
{
	AtlasWords	words;

	if (length > document->text_left)
		length = atlas_clipped_length(text, length, document->text_left);
	document->text_left -= length;
	if (length == 0)
		return;
	atlas_split(text, length, &words);
	for (int i = 0; i < words.nitems; i++)
	{
		const AtlasWord *word = &words.items[i];

		atlas_lexeme_list_add(&document->lexemes, word->text, word->length,
							  document->position + word->position, weight, RESERVED);
	}
	if (words.npositions > 0)
		document->position = Min(document->position + words.npositions + GAP, MAXENTRYPOS);
}

/* Adds a lexeme that is no word. */
static void
add_lexeme(Document *document, AtlasLexeme lexeme)
{
	atlas_lexeme_list_add(&document->lexemes, lexeme.text, lexeme.length, 0, 0, 0);
}

/*
 * Adds the lexemes by which a value is found by its key. The text is that of
 * atlas_exact_text().
 */
static void
add_exact(Document *document, const Path *path, const char *exact, int exact_length)
{
	const char *key = path->keys.data + path->key_start;
	int			key_length = path->keys.len - path->key_start;

	document->fields_left--;
	if (key_length > MAX_KEY)
		return;
	add_lexeme(document, atlas_exact_lexeme(key, key_length, exact, exact_length));
	if (path->key_start > 0 && path->keys.len <= MAX_KEY)
		add_lexeme(document, atlas_exact_lexeme(path->keys.data, path->keys.len, exact, exact_length));
}

/* May the current value still be found by its key? */
static bool
is_field(const Document *document, const Path *path)
{
	return document->fields_left > 0 && path->has_key;
}

static void
add_string(Document *document, const Path *path, const char *string, int length)
{
	if (is_field(document, path))
	{
		int			exact_length;
		char	   *exact = atlas_exact_text(string, length, &exact_length);

		add_exact(document, path, exact, exact_length);
	}
	add_words(document, string, length, ATLAS_WEIGHT_C);
}

static void
add_number(Document *document, const Path *path, Numeric numeric)
{
	AtlasNumberTexts texts;

	atlas_number_texts(numeric, &texts);
	if (is_field(document, path))
		add_exact(document, path, texts.exact, texts.exact_length);
	add_words(document, texts.printed, texts.printed_length, ATLAS_WEIGHT_C);
}

/* Adds a value that is neither an object nor an array. */
static void
add_scalar(Document *document, const Path *path, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			add_string(document, path, value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			add_number(document, path, value->val.numeric);
			break;
		case jbvBool:
			if (value->val.boolean)
				add_string(document, path, "true", strlen("true"));
			else
				add_string(document, path, "false", strlen("false"));
			break;
		case jbvNull:
			if (is_field(document, path))
				add_exact(document, path, "null", strlen("null"));
			break;
		default:
			break;
	}
}

static void
path_init(Path *path)
{
	initStringInfo(&path->keys);
	path->key_start = 0;
	path->has_key = false;
	path->nlevels = 0;
	path->room = 16;
	path->levels = palloc(path->room * sizeof(Level));
}

/* Begins an object or an array. */
static void
path_push(Path *path)
{
	Level	   *level;

	if (path->nlevels == path->room)
	{
		path->room *= 2;
		path->levels = repalloc_huge(path->levels, (Size) path->room * sizeof(Level));
	}
	level = &path->levels[path->nlevels++];
	level->path_length = path->keys.len;
	level->key_start = path->key_start;
	level->has_key = path->has_key;
}

/* Ends it: what comes next has the keys that led to it. */
static void
path_pop(Path *path)
{
	const Level *level = &path->levels[--path->nlevels];

	path->keys.len = level->path_length;
	path->key_start = level->key_start;
	path->has_key = level->has_key;
}

/* Sets the key of the next value, in the object that was begun last. */
static void
path_set_key(Path *path, const char *key, int length)
{
	const Level *level = &path->levels[path->nlevels - 1];
	int			folded_length;
	char	   *folded = atlas_fold(key, length, &folded_length);

	path->keys.len = level->path_length;
	if (level->has_key)
		appendStringInfoChar(&path->keys, '.');
	path->key_start = path->keys.len;
	path->has_key = true;
	appendBinaryStringInfo(&path->keys, folded, folded_length);
	pfree(folded);
}

/* Adds the values of the payload, until the limits are reached. */
static void
add_payload(Document *document, Jsonb *payload)
{
	JsonbIterator *iterator = JsonbIteratorInit(&payload->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	Path		path;

	path_init(&path);
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (document->text_left == 0 && document->fields_left == 0)
			break;
		if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
			path_push(&path);
		else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
			path_pop(&path);
		else if (token == WJB_KEY)
			path_set_key(&path, value.val.string.val, value.val.string.len);
		else
			add_scalar(document, &path, &value);
	}
}

/* Collects everything by which the event is found. */
static void
collect(Document *document, const AtlasDocumentSource *event)
{
	const char *name = VARDATA_ANY(event->name);
	int			name_length = VARSIZE_ANY_EXHDR(event->name);

	atlas_lexeme_list_init(&document->lexemes);
	document->text_left = atlas_search_text_limit;
	document->fields_left = MAX_FIELDS;
	document->position = 1;
	add_lexeme(document, atlas_tenant_lexeme(event->tenant));
	add_lexeme(document, atlas_type_lexeme(VARDATA_ANY(event->object_type),
										   VARSIZE_ANY_EXHDR(event->object_type)));
	add_lexeme(document, atlas_name_lexeme(name, name_length));
	add_words(document, name, name_length, ATLAS_WEIGHT_A);
	if (event->description != NULL)
	{
		int			length;
		char	   *text = atlas_html_text(VARDATA_ANY(event->description),
										   VARSIZE_ANY_EXHDR(event->description), &length);

		add_words(document, text, length, ATLAS_WEIGHT_B);
	}
	if (event->payload != NULL)
		add_payload(document, event->payload);
}

/* What is needed on the way, many times the size of the document, is freed at once. */
TSVector
atlas_make_document(const AtlasDocumentSource *event)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "atlas_events document",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext context = MemoryContextSwitchTo(scratch);
	Document	document;
	TSVector	result;

	collect(&document, event);
	MemoryContextSwitchTo(context);
	result = atlas_lexeme_list_to_tsvector(&document.lexemes);
	MemoryContextDelete(scratch);
	return result;
}
