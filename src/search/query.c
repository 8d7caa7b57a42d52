/*
 * query.c
 *		Reads what people type into a search box and makes a tsquery of it: see query.h
 *		for the language.
 *
 * The text is read once, from the left. Each term becomes a node. Nodes that OR joins are
 * collected in "either"; what is finished goes into "all", whose parts must all be there.
 * Words are cut by words.c and exact values are made by lexemes.c, like those of documents.
 *
 * At most ATLAS_MAX_TERMS terms count, and nothing is nested deeper than that. So the time to
 * compare a document with the query is bounded. Of a phrase the first words count. A negated
 * phrase counts as a whole or not at all, because a part of it would exclude too much.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/encoding.h"
#include "event/validation.h"
#include "objects/registry.h"
#include "search/lexemes.h"
#include "search/query.h"
#include "search/query_tree.h"
#include "search/words.h"

/* A part of the text. */
typedef struct Piece
{
	const char *text;
	int			length;
} Piece;

/* A term as it is written. */
typedef struct WrittenTerm
{
	bool		is_negated;
	bool		is_quoted;		/* the words are */
	bool		is_field;
	Piece		key;			/* of a field */
	Piece		value;			/* of a field, or else the words */
} WrittenTerm;

typedef struct QueryReader
{
	const char *next;
	const char *end;
	AtlasSearchQuery *query;
	QTNode	   *all;
	QTNode	   *either;
	bool		or_is_open;		/* the next term is joined with "either" */
	MemoryContext result;
	MemoryContext scratch;		/* current while a term is read, and then emptied */
} QueryReader;

/* ----- Characters. No byte of a longer character is ASCII in an encoding of a server. ----- */

/* Is it a database of Unicode? That of a database of SQL_ASCII is most likely it, too. */
static inline bool
is_unicode(void)
{
	return GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII;
}

/* The length of what stands here if it stands between terms, else 0. */
static int
blank_length(const char *text, const char *end)
{
	if (*text == ' ' || (*text >= '\t' && *text <= '\r') || *text == '(' || *text == ')')
		return 1;
	if (!is_unicode())
		return 0;
	if (end - text >= 2 && memcmp(text, "\xC2\xA0", 2) == 0)	/* U+00A0, no-break space */
		return 2;
	if (end - text >= 3 && memcmp(text, "\xE3\x80\x80", 3) == 0)	/* U+3000, ideographic space */
		return 3;
	return 0;
}

/* The length of the typographic quote that stands here, which keyboards put in the place of ", else 0. */
static int
curly_quote_length(const char *text, const char *end)
{
	if (is_unicode() && end - text >= 3 && text[0] == '\xE2' && text[1] == '\x80' &&
		(text[2] == '\x9C' || text[2] == '\x9D' || text[2] == '\x9E'))
		return 3;
	return 0;
}

static int
quote_length(const char *text, const char *end)
{
	return *text == '"' ? 1 : curly_quote_length(text, end);
}

static void
skip_to_term(QueryReader *reader)
{
	int			length;

	while (reader->next < reader->end && (length = blank_length(reader->next, reader->end)) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		reader->next += length;
	}
}

/* ----- Terms as they are written ----- */

/* Reads up to the next blank or quote. */
static Piece
read_bare(QueryReader *reader)
{
	Piece		piece = {reader->next, 0};

	while (reader->next < reader->end && blank_length(reader->next, reader->end) == 0 &&
		   quote_length(reader->next, reader->end) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		reader->next++;
	}
	piece.length = reader->next - piece.text;
	return piece;
}

/* The length of the quote that ends what the opening quote begins, else 0. */
static int
closing_length(const char *opening, const char *text, const char *end)
{
	return *opening == '"' ? *text == '"' : curly_quote_length(text, end);
}

/* Reads what stands in quotes, up to the end of the text if they are not closed. */
static Piece
read_quoted(QueryReader *reader)
{
	const char *opening = reader->next;
	Piece		piece;

	reader->next += quote_length(opening, reader->end);
	piece.text = reader->next;
	while (reader->next < reader->end && closing_length(opening, reader->next, reader->end) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		reader->next++;
	}
	piece.length = reader->next - piece.text;
	if (reader->next < reader->end)
		reader->next += closing_length(opening, reader->next, reader->end);
	return piece;
}

/* Reads a value in quotes, where two quotes are one. */
static Piece
read_quoted_value(QueryReader *reader)
{
	StringInfoData value;

	initStringInfo(&value);
	for (;;)
	{
		Piece		piece = read_quoted(reader);

		appendBinaryStringInfo(&value, piece.text, piece.length);
		if (reader->next == reader->end || *reader->next != '"' || reader->next[-1] != '"')
			return (Piece) {value.data, value.len};
		appendStringInfoChar(&value, '"');
	}
}

/* Could this be the key of a field? */
static bool
may_be_key(const Piece *piece)
{
	unsigned char first = piece->length > 0 ? piece->text[0] : '\0';

	return first == '_' || IS_HIGHBIT_SET(first) ||
		(first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z');
}

/*
 * Reads the value of a field. The rest is what follows the colon without a blank or a quote.
 * Returns false if there is no value.
 */
static bool
read_value(QueryReader *reader, Piece rest, WrittenTerm *term)
{
	term->value = rest;
	if (rest.length > 0)
		return rest.text[0] != ':' && !(rest.length > 1 && memcmp(rest.text, "//", 2) == 0);
	if (reader->next == reader->end || quote_length(reader->next, reader->end) == 0)
		return false;
	term->value = read_quoted_value(reader);
	return true;
}

/* Reads words in quotes, or a field whose key is in quotes. */
static void
read_quoted_term(QueryReader *reader, WrittenTerm *term)
{
	Piece		quoted = read_quoted(reader);
	const char *behind = reader->next;

	if (behind < reader->end && *behind == ':' && quoted.length > 0)
	{
		Piece		rest;

		reader->next++;
		rest = read_bare(reader);
		term->is_field = read_value(reader, rest, term);
		term->key = quoted;
		if (term->is_field)
			return;
		reader->next = behind;
	}
	term->is_quoted = true;
	term->value = quoted;
}

/* Reads words without quotes, or a field. */
static void
read_bare_term(QueryReader *reader, WrittenTerm *term)
{
	Piece		bare = read_bare(reader);
	const char *colon = memchr(bare.text, ':', bare.length);

	if (colon != NULL)
	{
		term->key = (Piece) {bare.text, colon - bare.text};
		term->is_field = may_be_key(&term->key) &&
			read_value(reader, (Piece) {colon + 1, bare.text + bare.length - colon - 1}, term);
	}
	if (!term->is_field)
		term->value = bare;
}

/* Reads the next term. Returns false at the end. */
static bool
read_term(QueryReader *reader, WrittenTerm *term)
{
	const char *next;

	memset(term, 0, sizeof(WrittenTerm));
	skip_to_term(reader);
	if (reader->next == reader->end)
		return false;
	next = reader->next + 1;
	if (*reader->next == '-' && next < reader->end && *next != '-' && blank_length(next, reader->end) == 0)
	{
		term->is_negated = true;
		reader->next++;
	}
	if (quote_length(reader->next, reader->end) > 0)
		read_quoted_term(reader, term);
	else
		read_bare_term(reader, term);
	return true;
}

/* ----- Terms as nodes ----- */

/* The next term must be there too, unless OR joins it. */
static void
add_node(QueryReader *reader, QTNode *node, bool is_negated)
{
	if (node != NULL && is_negated)
		node = atlas_query_not(node);
	if (!reader->or_is_open)
	{
		reader->all = atlas_query_and(reader->all, reader->either);
		reader->either = NULL;
	}
	reader->either = atlas_query_or(reader->either, node);
	reader->or_is_open = false;
}

/* How many of these terms still count? All of them, or none, if they are negated. */
static int
take_terms(AtlasSearchQuery *query, int nterms, bool is_negated)
{
	int			room = ATLAS_MAX_TERMS - query->nterms;
	int			taken = nterms <= room ? nterms : is_negated ? 0 : room;

	query->nterms += taken;
	query->nleft_out += nterms - taken;
	return taken;
}

/*
 * Is there a need for this word in a phrase of all of them? What is together consists of words that are
 * there too. Pairs overlap, so that a run of them is there if every other pair and the last
 * one are, at their positions. "kept" is the word that was kept last, or NULL.
 */
static bool
is_needed(const AtlasWord *word, const AtlasWord *end, const AtlasWord *kept)
{
	const AtlasWord *next = word + 1;
	bool		follows_pair = kept != NULL && kept->kind == ATLAS_WORD_PAIR &&
		kept->position == word->position - 1;

	switch (word->kind)
	{
		case ATLAS_WORD_TOGETHER:
			return false;
		case ATLAS_WORD_LAST:
			return !follows_pair;
		case ATLAS_WORD_PAIR:
			return !follows_pair || next == end || next->kind != ATLAS_WORD_PAIR ||
				next->position != word->position + 1;
		default:
			return true;
	}
}

/*
 * Moves the words that a phrase needs to the beginning, and returns how many they are. One
 * run of letters and digits alone is what is together.
 */
static int
keep_needed(AtlasWord *items, int nitems)
{
	const AtlasWord *last = &items[nitems - 1];
	int			nkept = 0;

	if (last->kind == ATLAS_WORD_TOGETHER && last->position == items[0].position)
	{
		items[0] = *last;
		return 1;
	}
	for (int i = 0; i < nitems; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_needed(&items[i], items + nitems, nkept > 0 ? &items[nkept - 1] : NULL))
			items[nkept++] = items[i];
	}
	return nkept;
}

/* Has a headline mark this word. */
static void
mark_word(AtlasSearchQuery *query, const AtlasWord *word, bool is_prefix)
{
	if (query->marked == NULL)
		query->marked = palloc(sizeof(AtlasMarkedWord) * ATLAS_MAX_TERMS);
	query->marked[query->nmarked++] = (AtlasMarkedWord)
	{
		pnstrdup(word->text, word->length), word->length, is_prefix
	};
}

/*
 * The words as a phrase. If it ends with a single character of a script without blanks, this may begin
 * a pair. Elsewhere in a phrase the character is the last one of its run.
 */
static QTNode *
phrase_node(AtlasSearchQuery *query, const AtlasWord *items, int nitems, bool last_is_prefix, bool is_negated)
{
	QTNode	   *phrase = NULL;

	for (int i = 0; i < nitems; i++)
	{
		bool		is_prefix = i == nitems - 1 && (last_is_prefix || items[i].kind == ATLAS_WORD_LAST);
		QTNode	   *node = atlas_query_value(items[i].text, items[i].length, is_prefix);

		if (!is_negated)
			mark_word(query, &items[i], is_prefix);
		phrase = phrase == NULL ? node :
			atlas_query_phrase(phrase, node, items[i].position - items[i - 1].position);
	}
	return phrase;
}

/* Adds words, which a star that touches the last one makes a prefix. */
static void
add_words_as_term(QueryReader *reader, const WrittenTerm *term)
{
	Piece		piece = term->value;
	bool		has_star = false;
	AtlasWords	words;
	int			nneeded;
	int			ntaken;

	while (term->is_quoted && piece.length > 0 && piece.text[piece.length - 1] == ' ')
		piece.length--;
	while (piece.length > 0 && piece.text[piece.length - 1] == '*')
	{
		has_star = true;
		piece.length--;
	}
	atlas_split(piece.text, piece.length, &words);
	if (words.nitems == 0)
		return;
	has_star = has_star && words.items[words.nitems - 1].end == piece.length;
	nneeded = keep_needed(words.items, words.nitems);
	ntaken = take_terms(reader->query, nneeded, term->is_negated);
	MemoryContextSwitchTo(reader->result);
	add_node(reader, phrase_node(reader->query, words.items, ntaken, has_star && ntaken == nneeded,
								 term->is_negated), term->is_negated);
}

/* Is the key this word, in whatever case? */
static bool
key_is(const Piece *key, const char *word)
{
	return key->length == strlen(word) && pg_strncasecmp(key->text, word, key->length) == 0;
}

/* The lexeme of a type, which may be named by an alias. */
static AtlasLexeme
type_lexeme(const Piece *value)
{
	char	   *folded = atlas_fold_object_type(value->text, value->length);
	const AtlasObjectType *type = atlas_object_type(folded);
	const char *name = type != NULL ? type->name : folded;

	return atlas_type_lexeme(name, strlen(name));
}

/* Adds a field with its value. */
static void
add_field_as_term(QueryReader *reader, const WrittenTerm *term)
{
	static const char payload[] = "payload.";
	const int	prefix_length = sizeof(payload) - 1;
	Piece		key = term->key;
	const Piece *value = &term->value;
	AtlasLexeme lexeme;

	if (take_terms(reader->query, 1, term->is_negated) == 0)
	{
		add_node(reader, NULL, false);
		return;
	}
	if (key.length > prefix_length && pg_strncasecmp(key.text, payload, prefix_length) == 0)
		lexeme = atlas_value_lexeme(key.text + prefix_length, key.length - prefix_length,
									value->text, value->length);
	else if (key_is(&key, "name"))
		lexeme = atlas_name_lexeme(value->text, value->length);
	else if (key_is(&key, "type"))
		lexeme = type_lexeme(value);
	else
		lexeme = atlas_value_lexeme(key.text, key.length, value->text, value->length);
	MemoryContextSwitchTo(reader->result);
	add_node(reader, atlas_query_value(lexeme.text, lexeme.length, false), term->is_negated);
}

/* ----- The whole query ----- */

/* Is this the word that joins two terms? */
static bool
is_or(const WrittenTerm *term)
{
	return !term->is_field && !term->is_quoted && !term->is_negated &&
		term->value.length == 2 && memcmp(term->value.text, "OR", 2) == 0;
}

/* Counts the terms beyond the bytes that are read, roughly: as many as there are blanks in between. */
static int
count_terms(const char *text, const char *end)
{
	int			nterms = 0;
	bool		in_blanks = false;

	while (text < end)
	{
		int			blank = blank_length(text, end);

		CHECK_FOR_INTERRUPTS();
		nterms += in_blanks && blank == 0;
		in_blanks = blank > 0;
		text += Max(blank, 1);
	}
	return nterms;
}

/*
 * Reads all terms. What is needed of each one only while it is read is freed at once,
 * because there may be as many as half of the bytes.
 */
static void
read_terms(QueryReader *reader)
{
	WrittenTerm term;
	WrittenTerm open_or = {0};

	while (read_term(reader, &term))
	{
		CHECK_FOR_INTERRUPTS();
		if (term.is_field)
			add_field_as_term(reader, &term);
		else if (is_or(&term) && reader->either != NULL && !reader->or_is_open)
		{
			reader->or_is_open = true;
			open_or = term;
		}
		else
			add_words_as_term(reader, &term);
		MemoryContextSwitchTo(reader->scratch);
		MemoryContextReset(reader->scratch);
	}
	if (reader->or_is_open)
	{
		reader->or_is_open = false;
		add_words_as_term(reader, &open_or);
	}
}

void
atlas_parse_query(const char *text, int length, AtlasSearchQuery *query)
{
	int			length_read = length <= ATLAS_MAX_QUERY_LENGTH ? length :
		atlas_clipped_length(text, length, ATLAS_MAX_QUERY_LENGTH);
	QueryReader reader = {text, text + length_read, query};

	memset(query, 0, sizeof(AtlasSearchQuery));
	reader.result = CurrentMemoryContext;
	reader.scratch = AllocSetContextCreate(CurrentMemoryContext, "atlas_events query",
										   ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(reader.scratch);
	read_terms(&reader);
	MemoryContextSwitchTo(reader.result);
	MemoryContextDelete(reader.scratch);
	query->root = atlas_query_and(reader.all, reader.either);
	query->nleft_out += count_terms(text + length_read, text + length);
}

/* ANDs a lexeme that no word can be. */
static QTNode *
and_lexeme(QTNode *node, AtlasLexeme lexeme)
{
	return atlas_query_and(node, atlas_query_value(lexeme.text, lexeme.length, false));
}

TSQuery
atlas_query_for(const AtlasSearchQuery *query, const text *tenant, const text *object_type, const text *name)
{
	QTNode	   *node = and_lexeme(NULL, atlas_tenant_lexeme(tenant));

	if (object_type != NULL)
		node = and_lexeme(node, atlas_type_lexeme(VARDATA_ANY(object_type), VARSIZE_ANY_EXHDR(object_type)));
	if (name != NULL)
		node = and_lexeme(node, atlas_name_lexeme(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)));
	return QTN2QT(atlas_query_and(node, query->root));
}

bool
atlas_query_is_indexable(const AtlasSearchQuery *query)
{
	return atlas_query_requires_lexeme(query->root);
}
