/*
 * lexeme_list.c
 *		Lexemes in the order in which they come, and the tsvector that they make.
 *
 * The tsvector is written as ts_type.h describes it: its lexemes sorted as bytes, each
 * once, with its positions. The functions of PostgreSQL that make one raise an error when
 * it is too big. Here it is cut: a lexeme that would be too much is left out, and so are
 * positions beyond the last one or beyond the number that a lexeme can have.
 *
 * Most of the time goes into sorting: see byte_order.h.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/byte_order.h"
#include "base/compat.h"
#include "search/lexeme_list.h"

#define FIRST_ROOM 256

/*
 * What a lexeme needs beside its text: a byte to be aligned, the number of positions, a
 * position.
 */
#define EXTRA_SIZE (1 + 2 * (int) sizeof(uint16))

static inline int
compare_texts(const AtlasPlacedLexeme *a, const AtlasPlacedLexeme *b)
{
	return atlas_compare_bytes(a->first_bytes, a->text, a->length, b->first_bytes, b->text, b->length);
}

/* The order of lexemes in a tsvector, and of the positions of each. */
static inline int
compare_placed(const AtlasPlacedLexeme *a, const AtlasPlacedLexeme *b)
{
	int			order = compare_texts(a, b);

	return order != 0 ? order : (int) a->position - (int) b->position;
}

#define ST_SORT sort_placed
#define ST_ELEMENT_TYPE AtlasPlacedLexeme
#define ST_COMPARE(a, b) compare_placed(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

void
atlas_lexeme_list_init(AtlasLexemeList *list)
{
	list->room = FIRST_ROOM;
	list->nitems = 0;
	list->size = 0;
	list->items = palloc(list->room * sizeof(AtlasPlacedLexeme));
}

void
atlas_lexeme_list_add(AtlasLexemeList *list, const char *text, int length,
					  int position, int weight, int reserved)
{
	AtlasPlacedLexeme *item;

	if (length == 0 || length > MAXSTRLEN ||
		list->size + length + EXTRA_SIZE > MAXSTRPOS - reserved)
		return;
	if (list->nitems == list->room)
	{
		list->room *= 2;
		list->items = repalloc_huge(list->items, (Size) list->room * sizeof(AtlasPlacedLexeme));
	}
	list->size += length + EXTRA_SIZE;
	item = &list->items[list->nitems++];
	item->first_bytes = atlas_first_bytes(text, length);
	item->text = text;
	item->length = length;
	item->position = position < MAXENTRYPOS ? position : 0;
	item->weight = weight;
}

static bool
is_same_lexeme(const AtlasPlacedLexeme *a, const AtlasPlacedLexeme *b)
{
	return compare_texts(a, b) == 0;
}

/* How many lexemes are different from each other, in a list that is sorted. */
static int
count_lexemes(const AtlasLexemeList *list)
{
	int			nlexemes = list->nitems > 0 ? 1 : 0;

	for (int i = 1; i < list->nitems; i++)
		if (!is_same_lexeme(&list->items[i - 1], &list->items[i]))
			nlexemes++;
	return nlexemes;
}

/*
 * Writes the positions of a lexeme, which has items from first up to behind, at this
 * place of the texts. Returns the place behind them, which is the same if there are none.
 */
static int
write_positions(const AtlasPlacedLexeme *first, const AtlasPlacedLexeme *behind, char *texts,
				int offset)
{
	int			start = SHORTALIGN(offset);
	WordEntryPosVector *positions = (WordEntryPosVector *) (texts + start);
	int			npositions = 0;
	int			previous = 0;

	for (; first < behind && npositions < MAXNUMPOS - 1; first++)
	{
		WordEntryPos position = 0;

		if (first->position == previous)
			continue;
		previous = first->position;
		WEP_SETPOS(position, first->position);
		WEP_SETWEIGHT(position, first->weight);
		positions->pos[npositions++] = position;
	}
	if (npositions == 0)
		return offset;
	positions->npos = npositions;
	return start + (npositions + 1) * sizeof(uint16);
}

TSVector
atlas_lexeme_list_to_tsvector(AtlasLexemeList *list)
{
	TSVector	vector;
	AtlasPlacedLexeme *end = list->items + list->nitems;
	WordEntry  *entry;
	char	   *texts;
	int			nlexemes;
	int			offset = 0;

	if (list->nitems > 1)
		sort_placed(list->items, list->nitems);
	nlexemes = count_lexemes(list);
	vector = palloc0(CALCDATASIZE(nlexemes, list->size));
	vector->size = nlexemes;
	entry = ARRPTR(vector);
	texts = STRPTR(vector);
	for (AtlasPlacedLexeme *item = list->items; item < end; entry++)
	{
		AtlasPlacedLexeme *behind = item + 1;
		int			behind_text = offset + item->length;

		CHECK_FOR_INTERRUPTS();
		while (behind < end && is_same_lexeme(item, behind))
			behind++;
		memcpy(texts + offset, item->text, item->length);
		entry->len = item->length;
		entry->pos = offset;
		offset = write_positions(item, behind, texts, behind_text);
		entry->haspos = offset > behind_text;
		item = behind;
	}
	SET_VARSIZE(vector, CALCDATASIZE(nlexemes, offset));
	return vector;
}
