/*
 * words.c
 *		Cutting text into words, the same way in documents and in queries.
 *
 * A text is read character by character, folded (see fold.c). Characters of one class
 * that touch make a part: letters, digits, or characters of a script without blanks. A
 * part of letters or digits is a word. Parts of letters and of digits that touch make a
 * word together as well. What lies between words (blanks and signs) is not kept.
 *
 * A run of a script without blanks is cut into pairs that overlap, at consecutive
 * positions: 返金済 has the words 返金, 金済 and 済. Whoever looks for some of its characters
 * finds their pairs one after the other. The character that stands alone at the end is
 * found as well by whoever looks for a single one, with words that begin with it.
 *
 * A word of more than ATLAS_MAX_WORD bytes is cut at a character, and the rest of it is
 * read and forgotten.
 *
 * Everything is UTF-8 in here. In databases of another encoding the text is converted
 * before, and each word after it. Folding can make a character that the encoding does not
 * have, as of µ in LATIN1; it is left out of the word.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "search/fold.h"
#include "search/utf8_text.h"
#include "search/words.h"

/* Memory for the text of words is taken in blocks, because the words point into it. */
#define BLOCK_SIZE 4096

/* Part of a text that is being read, and that will be a word. */
typedef struct Part
{
	AtlasCharacterClass class;	/* ATLAS_BLANK: there is none */
	int			length;
	bool		is_full;		/* it was cut: what follows is forgotten */
	int			start;
	int			end;
} Part;

typedef struct Splitter
{
	AtlasWords *words;
	int			room;			/* in words->items */
	char	   *block;			/* the text of the next word; it has room for the longest */
	char	   *block_end;
	int			next_block;		/* size of the next block */
	Part		part;			/* its text is in the block */
	Part		together;		/* the parts before it that touch */
	int			nparts;			/* in together */
	int			together_position;
	char		together_text[ATLAS_MAX_WORD];
} Splitter;

/* Makes room for the longest word. */
static void
need_block(Splitter *splitter)
{
	if (splitter->block_end - splitter->block >= ATLAS_MAX_WORD)
		return;
	splitter->block = palloc(splitter->next_block);
	splitter->block_end = splitter->block + splitter->next_block;
	splitter->next_block = BLOCK_SIZE;
}

/* Adds a word, whose text has been written to the block. */
static void
add_word(Splitter *splitter, AtlasWordKind kind, const Part *part, int position)
{
	AtlasWords *words = splitter->words;
	AtlasWord  *word;

	if (words->nitems == splitter->room)
	{
		splitter->room *= 2;
		words->items = repalloc_huge(words->items, (Size) splitter->room * sizeof(AtlasWord));
	}
	word = &words->items[words->nitems++];
	word->kind = kind;
	word->text = splitter->block;
	word->length = part->length;
	word->position = position;
	word->start = part->start;
	word->end = part->end;
	splitter->block += part->length;
}

/* Appends a character to the text of the part, unless that is too long already. */
static inline void
append_character(Splitter *splitter, int32 character)
{
	Part	   *part = &splitter->part;
	char		utf8[ATLAS_MAX_UTF8];
	int			width = atlas_write_utf8(utf8, character);

	part->is_full = part->is_full || part->length + width > ATLAS_MAX_WORD;
	if (part->is_full)
		return;
	memcpy(splitter->block + part->length, utf8, width);
	part->length += width;
}

static void
begin_part(Part *part, AtlasCharacterClass class, int start)
{
	part->class = class;
	part->length = 0;
	part->is_full = false;
	part->start = start;
	part->end = start;
}

/* Appends the part to the word together, as far as there is room for its characters. */
static void
append_to_together(Splitter *splitter)
{
	const Part *part = &splitter->part;
	Part	   *together = &splitter->together;
	int			length = Min(part->length, ATLAS_MAX_WORD - together->length);

	if (together->is_full)
		return;
	if (length < part->length)
		while (length > 0 && (splitter->block[length] & 0xC0) == 0x80)
			length--;
	memcpy(splitter->together_text + together->length, splitter->block, length);
	together->length += length;
	together->is_full = part->is_full || length < part->length;
}

/*
 * Ends a part of letters or of digits, which is a word, and maybe a piece of a word
 * together.
 */
static void
end_part(Splitter *splitter, bool is_last)
{
	if (splitter->nparts == 0)
	{
		begin_part(&splitter->together, splitter->part.class, splitter->part.start);
		splitter->together_position = splitter->words->npositions;
	}
	if (splitter->nparts > 0 || !is_last)
		append_to_together(splitter);
	splitter->nparts++;
	splitter->together.end = splitter->part.end;
	add_word(splitter, ATLAS_WORD, &splitter->part, splitter->words->npositions++);
	splitter->part.class = ATLAS_BLANK;
}

/* Ends what is being read, because a blank or a sign follows, or another script, or nothing. */
static void
end_token(Splitter *splitter)
{
	if (splitter->part.class == ATLAS_BLANK)
		return;
	if (splitter->part.class == ATLAS_UNSPACED)
	{
		/* The last character has been written already, for a pair that did not come. */
		add_word(splitter, ATLAS_WORD_LAST, &splitter->part, splitter->words->npositions++);
		splitter->part.class = ATLAS_BLANK;
		return;
	}
	end_part(splitter, true);
	if (splitter->nparts > 1)
	{
		need_block(splitter);
		memcpy(splitter->block, splitter->together_text, splitter->together.length);
		add_word(splitter, ATLAS_WORD_TOGETHER, &splitter->together, splitter->together_position);
	}
	splitter->nparts = 0;
}

/* Reads a letter or a digit. */
static inline void
read_of_word(Splitter *splitter, const AtlasFolded *folded, int start, int end)
{
	if (splitter->part.class != folded->class)
	{
		if (splitter->part.class == ATLAS_UNSPACED)
			end_token(splitter);
		else if (splitter->part.class != ATLAS_BLANK)
			end_part(splitter, false);
		need_block(splitter);
		begin_part(&splitter->part, folded->class, start);
	}
	append_character(splitter, folded->character);
	splitter->part.end = end;
}

/*
 * Reads on while letters of ASCII follow letters, or digits follow digits: this is most
 * of most texts.
 */
static inline void
read_more_ascii(Splitter *splitter, AtlasFolder *folder)
{
	Part	   *part = &splitter->part;

	while (folder->end < folder->length && folder->text[folder->end] < 0x80)
	{
		const AtlasFolded *folded = &atlas_folded_ascii[folder->text[folder->end]];

		if (folded->class != part->class)
			break;
		if (part->length < ATLAS_MAX_WORD && !part->is_full)
			splitter->block[part->length++] = (char) folded->character;
		else
			part->is_full = true;
		folder->end++;
	}
	part->end = folder->end;
}

/* Reads a character of a script without blanks, which ends a pair and begins the next one. */
static void
read_unspaced(Splitter *splitter, const AtlasFolded *folded, int start, int end)
{
	Part	   *part = &splitter->part;

	if (part->class != ATLAS_UNSPACED)
		end_token(splitter);
	else
	{
		append_character(splitter, folded->character);
		part->end = end;
		add_word(splitter, ATLAS_WORD_PAIR, part, splitter->words->npositions++);
	}
	need_block(splitter);
	begin_part(part, ATLAS_UNSPACED, start);
	append_character(splitter, folded->character);
	part->end = end;
}

/* Begins a text of so many bytes. */
static void
splitter_init(Splitter *splitter, AtlasWords *words, int length)
{
	splitter->words = words;
	splitter->room = Max(length / 5, 4);
	splitter->block = NULL;
	splitter->block_end = NULL;
	splitter->next_block = Min((Size) length * 2, BLOCK_SIZE) + ATLAS_MAX_WORD;
	splitter->part.class = ATLAS_BLANK;
	splitter->nparts = 0;
	words->items = palloc_extended((Size) splitter->room * sizeof(AtlasWord), MCXT_ALLOC_HUGE);
	words->nitems = 0;
	words->npositions = 0;
}

/* Cuts UTF-8 into words. */
static void
split_utf8(const char *utf8, int length, AtlasWords *words)
{
	Splitter	splitter;
	AtlasFolder folder;

	splitter_init(&splitter, words, length);
	atlas_fold_begin(&folder, utf8, length);
	while (atlas_fold_next(&folder))
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < folder.nfolded; i++)
		{
			const AtlasFolded *folded = &folder.folded[i];

			if (folded->class == ATLAS_LETTER || folded->class == ATLAS_DIGIT)
			{
				read_of_word(&splitter, folded, folder.start, folder.end);
				if (i == folder.nfolded - 1)
					read_more_ascii(&splitter, &folder);
			}
			else if (folded->class == ATLAS_UNSPACED)
				read_unspaced(&splitter, folded, folder.start, folder.end);
			else
				end_token(&splitter);
		}

		/* A mark that is left out belongs to the word before it. */
		if (folder.nfolded == 0)
			splitter.part.end = folder.end;
	}
	end_token(&splitter);
}

/*
 * Converts a word to the encoding of the server, without the characters that it lacks.
 * Returns false if nothing is left.
 */
static bool
convert_word(AtlasWord *word)
{
	const char *utf8 = word->text;
	int			utf8_length = word->length;
	char	   *text;

	word->text = atlas_from_utf8_text(utf8, utf8_length, &word->length);
	if (word->text != NULL)
		return true;
	text = palloc(utf8_length);
	word->text = text;
	word->length = 0;
	for (int i = 0, width; i < utf8_length; i += width)
	{
		const char *bytes;
		int			length;

		width = pg_utf_mblen((const unsigned char *) utf8 + i);
		bytes = atlas_from_utf8_text(utf8 + i, width, &length);
		if (bytes == NULL || word->length + length > utf8_length)
			continue;
		memcpy(text + word->length, bytes, length);
		word->length += length;
	}
	return word->length > 0;
}

/* Converts the words, and the places where they are. */
static void
convert_words(AtlasWords *words, const int *offsets)
{
	int			nkept = 0;

	for (int i = 0; i < words->nitems; i++)
	{
		AtlasWord	word = words->items[i];

		CHECK_FOR_INTERRUPTS();
		if (!convert_word(&word))
			continue;

		/* One character of the server can be several of UTF-8. */
		while (offsets[word.end] == offsets[word.end - 1])
			word.end++;
		word.start = offsets[word.start];
		word.end = offsets[word.end];
		words->items[nkept++] = word;
	}
	words->nitems = nkept;
}

void
atlas_split(const char *text, int length, AtlasWords *words)
{
	AtlasUtf8Text utf8;

	atlas_to_utf8_text(text, length, &utf8);
	split_utf8(utf8.text, utf8.length, words);
	if (utf8.offsets != NULL)
		convert_words(words, utf8.offsets);
}

/* ----- Whole texts ----- */

/* A folded text that grows. */
typedef struct FoldedText
{
	char	   *text;
	int			length;
	Size		room;
	bool		is_blank_due;	/* a blank comes before the next character */
} FoldedText;

/* Makes room for so many bytes, and writes the blank that is due before them. */
static inline void
prepare_to_append(FoldedText *folded, int length)
{
	if (folded->length + length + 1 > folded->room)
	{
		folded->room = (folded->room + length) * 2;
		folded->text = repalloc_huge(folded->text, folded->room);
	}
	if (folded->is_blank_due && folded->length > 0)
		folded->text[folded->length++] = ' ';
	folded->is_blank_due = false;
}

/*
 * Appends a folded character in the encoding of the server. One that it lacks becomes a
 * question mark.
 */
static void
append_folded_character(FoldedText *folded, int32 character)
{
	char		utf8[ATLAS_MAX_UTF8];
	const char *bytes;
	int			length;

	bytes = atlas_from_utf8_text(utf8, atlas_write_utf8(utf8, character), &length);
	if (bytes == NULL)
	{
		bytes = "?";
		length = 1;
	}
	prepare_to_append(folded, length);
	memcpy(folded->text + folded->length, bytes, length);
	folded->length += length;
}

char *
atlas_fold(const char *text, int length, int *folded_length)
{
	AtlasUtf8Text utf8;
	AtlasFolder folder;
	FoldedText	folded;

	atlas_to_utf8_text(text, length, &utf8);
	folded.room = (Size) length + 2;
	folded.text = palloc_extended(folded.room, MCXT_ALLOC_HUGE);
	folded.length = 0;
	folded.is_blank_due = false;
	atlas_fold_begin(&folder, utf8.text, utf8.length);
	while (atlas_fold_next(&folder))
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < folder.nfolded; i++)
		{
			int32		character = folder.folded[i].character;

			if (folder.folded[i].class == ATLAS_BLANK)
				folded.is_blank_due = true;
			else if (character < 0x80)
			{
				prepare_to_append(&folded, 1);
				folded.text[folded.length++] = (char) character;
			}
			else
				append_folded_character(&folded, character);
		}
	}
	*folded_length = folded.length;
	return folded.text;
}
