/*
 * headline.c
 *		Shows an event by a piece of its text with the words of a query marked.
 *
 * The texts are the name, the description without its tags, and the payload as "key: value,
 * key: value". Each is cut into words like those of its document, and the words that the query
 * asks for are its marks. The piece is where most of the different words are together. Of all
 * texts, atlas_events.search_text_limit bytes are looked at.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/encoding.h"
#include "search/headline.h"
#include "search/headline_text.h"
#include "search/words.h"

#define WIDTH 200				/* characters of a headline */
#define ADJUST 20				/* characters that may be given up so that it begins and ends at a blank */

/* A word to be marked: from its first character to behind its last one. */
typedef struct Mark
{
	int			start;
	int			end;
	int			word;			/* which one of the query's */
} Mark;

/* A text in characters: beginnings has one entry more, which is the end of the text. */
typedef struct Characters
{
	const char *text;
	int		   *beginnings;
	int			count;
} Characters;

/* A piece of a text. */
typedef struct Window
{
	int			first_mark;
	int			last_mark;
	int			nwords;			/* different ones of the query */
} Window;

/* The best piece so far. */
typedef struct Headline
{
	const AtlasSearchQuery *query;
	Characters	characters;
	Mark	   *marks;
	int			nmarks;
	Window		window;
} Headline;

/* ----- Marks ----- */

/* Finds the beginnings of characters. A character that is cut off ends with the text. */
static void
find_characters(Characters *characters, const AtlasHeadlineText *text)
{
	int			encoding = atlas_text_encoding();
	int			position = 0;

	characters->text = text->text;
	characters->beginnings = palloc(sizeof(int) * (text->length + 1));
	characters->count = 0;
	while (position < text->length)
	{
		CHECK_FOR_INTERRUPTS();
		characters->beginnings[characters->count++] = position;
		position += pg_encoding_mblen(encoding, text->text + position);
	}
	characters->beginnings[characters->count] = text->length;
}

/* The number of characters that begin before this byte. */
static int
character_at(const Characters *characters, int byte)
{
	int			low = 0;
	int			high = characters->count;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (characters->beginnings[middle] < byte)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Which word of the query is this one? -1 if it is none. */
static int
marked_word(const AtlasSearchQuery *query, const AtlasWord *word)
{
	for (int i = 0; i < query->nmarked; i++)
	{
		const AtlasMarkedWord *marked = &query->marked[i];

		if ((marked->is_prefix ? word->length >= marked->length : word->length == marked->length) &&
			memcmp(word->text, marked->text, marked->length) == 0)
			return i;
	}
	return -1;
}

static int
compare_marks(const void *a, const void *b)
{
	const Mark *left = a;
	const Mark *right = b;

	return left->start != right->start ? (left->start > right->start ? 1 : -1) :
		left->end > right->end ? 1 : left->end < right->end ? -1 : 0;
}

/*
 * Finds the marks of a part of the text. If only the first character of a pair is asked
 * for, only this one is marked.
 */
static int
find_marks(const Characters *characters, const AtlasHeadlinePart *part, const AtlasSearchQuery *query, Mark **marks,
		   int nmarks)
{
	AtlasWords	words;

	atlas_split(characters->text + part->start, part->end - part->start, &words);
	for (int i = 0; i < words.nitems; i++)
	{
		const AtlasWord *word = &words.items[i];
		int			marked = marked_word(query, word);
		Mark	   *mark;

		CHECK_FOR_INTERRUPTS();
		if (marked < 0)
			continue;
		if ((nmarks & (nmarks - 1)) == 0)
			*marks = *marks == NULL ? palloc(sizeof(Mark)) : repalloc(*marks, sizeof(Mark) * 2 * nmarks);
		mark = &(*marks)[nmarks++];
		mark->word = marked;
		mark->start = character_at(characters, part->start + word->start);
		mark->end = character_at(characters, part->start + word->end);
		if (word->kind == ATLAS_WORD_PAIR && query->marked[marked].length < word->length)
			mark->end = mark->start + 1;
	}
	return nmarks;
}

/* ----- The piece ----- */

/* Is the first window the better one? */
static bool
is_better(const Window *window, const Window *best)
{
	return window->nwords > best->nwords ||
		(window->nwords == best->nwords &&
		 window->last_mark - window->first_mark > best->last_mark - best->first_mark);
}

/* The window that has most of the different words, and then most marks. The marks are sorted. */
static Window
best_window(const Mark *marks, int nmarks)
{
	int			counts[ATLAS_MAX_TERMS] = {0};
	Window		window = {0, -1, 0};
	Window		best = {0, -1, 0};

	for (; window.first_mark < nmarks; window.first_mark++)
	{
		CHECK_FOR_INTERRUPTS();
		while (window.last_mark + 1 < nmarks &&
			   (window.last_mark < window.first_mark ||
				marks[window.last_mark + 1].end <= marks[window.first_mark].start + WIDTH))
			window.nwords += counts[marks[++window.last_mark].word]++ == 0;
		if (is_better(&window, &best))
			best = window;
		window.nwords -= --counts[marks[window.first_mark].word] == 0;
	}
	return best;
}

/* Looks for the best piece in a text. */
static void
look_at_text(Headline *headline, const AtlasHeadlineText *text)
{
	Characters	characters;
	Mark	   *marks = NULL;
	int			nmarks = 0;
	Window		window;

	find_characters(&characters, text);
	for (int i = 0; i < text->nparts; i++)
		nmarks = find_marks(&characters, &text->parts[i], headline->query, &marks, nmarks);
	if (nmarks == 0)
		return;
	qsort(marks, nmarks, sizeof(Mark), compare_marks);
	window = best_window(marks, nmarks);
	if (window.nwords > headline->window.nwords)
	{
		headline->characters = characters;
		headline->marks = marks;
		headline->nmarks = nmarks;
		headline->window = window;
	}
}

/* Is the character a blank? */
static bool
is_blank_at(const Characters *characters, int character)
{
	const char *text = characters->text + characters->beginnings[character];

	return *text == ' ' || (*text >= '\t' && *text <= '\r');
}

/*
 * Where the headline begins and ends: with the marks in its middle, and at blanks where these are near.
 */
static void
find_ends(const Headline *headline, int *first, int *end)
{
	const Characters *characters = &headline->characters;
	int			marked_from = headline->marks[headline->window.first_mark].start;
	int			marked_to = marked_from;

	for (int i = headline->window.first_mark; i <= headline->window.last_mark; i++)
		marked_to = Max(marked_to, headline->marks[i].end);
	marked_to = Min(marked_to, marked_from + WIDTH);
	*first = Max(marked_from - (WIDTH - (marked_to - marked_from)) / 2, 0);
	*end = Min(*first + WIDTH, characters->count);
	*first = Max(*end - WIDTH, 0);
	if (*first > 0)
		for (int i = *first; i < Min(*first + ADJUST, marked_from); i++)
			if (is_blank_at(characters, i))
			{
				*first = i + 1;
				break;
			}
	if (*end < characters->count)
		for (int i = *end; i > Max(*end - ADJUST, marked_to - 1); i--)
			if (is_blank_at(characters, i))
			{
				*end = i;
				break;
			}
}

/* ----- HTML ----- */

/* Adds a byte, escaped. Any blanks are one space, and there is none at the beginning. */
static void
add_byte(StringInfo html, char byte)
{
	if (byte == ' ' || (byte >= '\t' && byte <= '\r'))
	{
		if (html->len > 0 && html->data[html->len - 1] != ' ')
			appendStringInfoChar(html, ' ');
	}
	else if (byte == '<')
		appendStringInfoString(html, "&lt;");
	else if (byte == '>')
		appendStringInfoString(html, "&gt;");
	else if (byte == '&')
		appendStringInfoString(html, "&amp;");
	else if (byte == '"')
		appendStringInfoString(html, "&quot;");
	else if (byte == '\'')
		appendStringInfoString(html, "&#39;");
	else
		appendStringInfoChar(html, byte);
}

/* Other encodings may lack the sign. */
static void
add_ellipsis(StringInfo html)
{
	appendStringInfoString(html, GetDatabaseEncoding() == PG_UTF8 ? "\xE2\x80\xA6" : "...");
}

/*
 * The piece as HTML. Marks that touch or overlap are one. Every byte is looked at, because in a database
 * of SQL_ASCII a sign may stand where the rest of a character should be.
 */
static void
write_html(const Headline *headline, StringInfo html)
{
	const Characters *characters = &headline->characters;
	int			next_mark = 0;
	int			marked_to = 0;	/* the mark that is open ends here */
	bool		is_open = false;
	int			first;
	int			end;

	find_ends(headline, &first, &end);
	if (first > 0)
		add_ellipsis(html);
	for (int i = first; i < end; i++)
	{
		for (; next_mark < headline->nmarks && headline->marks[next_mark].start <= i; next_mark++)
			marked_to = Max(marked_to, headline->marks[next_mark].end);
		if ((i < marked_to) != is_open)
		{
			appendStringInfoString(html, is_open ? "</mark>" : "<mark>");
			is_open = !is_open;
		}
		for (int byte = characters->beginnings[i]; byte < characters->beginnings[i + 1]; byte++)
			add_byte(html, characters->text[byte]);
	}
	if (is_open)
		appendStringInfoString(html, "</mark>");
	else if (html->len > 0 && html->data[html->len - 1] == ' ')
		html->data[--html->len] = '\0';
	if (end < characters->count)
		add_ellipsis(html);
}

text *
atlas_headline(const AtlasDocumentSource *event, const AtlasSearchQuery *query)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext memory;
	Headline	headline = {query};
	AtlasHeadlineTexts texts;
	AtlasHeadlineText text;
	StringInfoData html;
	struct varlena *result = NULL;

	if (query->nmarked == 0)
		return NULL;
	memory = AllocSetContextCreate(caller, "atlas_events headline", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(memory);
	atlas_headline_texts_begin(&texts, event);
	while (atlas_headline_texts_next(&texts, &text))
		look_at_text(&headline, &text);
	if (headline.window.nwords > 0)
	{
		initStringInfo(&html);
		write_html(&headline, &html);
		MemoryContextSwitchTo(caller);
		result = cstring_to_text_with_len(html.data, html.len);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(memory);
	return result;
}
