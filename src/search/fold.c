/*
 * fold.c
 *		Reading UTF-8 character by character, without case, marks and width.
 *
 * A character is folded as Unicode's NFKC with full case folding does it, so that a wide
 * or a narrow letter, a ligature and a raised digit are the plain ones. Its marks are
 * then left out: é is e, й is и, أ is ا. Two kinds of marks stay:
 *
 * - vowel signs, and signs that stand for the lack of a vowel, of Thai, Lao, Khmer,
 *   Myanmar, Tibetan, Devanagari and other scripts of their family: they are letters in
 *   all but name. Tones that these scripts write as marks stay with them;
 * - the marks that make が of か, and パ of ハ: others would be different words.
 *
 * Characters that have no meaning of their own (soft hyphens, joiners, spaces without a
 * width, variation selectors) are left out.
 *
 * Syllables of Hangul stay as they are, and single letters of it are put together,
 * because other encodings have syllables only.
 *
 * The tables of utf8proc are asked once for each character below U+0800, which has the
 * alphabets of Europe and of the Near East.
 */
#include "postgres.h"

#include <utf8proc.h>

#include "search/fold.h"

#define FOLDING (UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD)

#define B {' ', ATLAS_BLANK}
#define S(c) {c, ATLAS_SIGN}
#define D(c) {c, ATLAS_DIGIT}
#define L(c) {c, ATLAS_LETTER}

#define LETTERS_OF_ASCII \
	L('a'), L('b'), L('c'), L('d'), L('e'), L('f'), L('g'), L('h'), L('i'), L('j'), L('k'), L('l'), L('m'), \
	L('n'), L('o'), L('p'), L('q'), L('r'), L('s'), L('t'), L('u'), L('v'), L('w'), L('x'), L('y'), L('z')

const AtlasFolded atlas_folded_ascii[128] = {
	B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B,
	B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B,
	B, S('!'), S('"'), S('#'), S('$'), S('%'), S('&'), S('\''),
	S('('), S(')'), S('*'), S('+'), S(','), S('-'), S('.'), S('/'),
	D('0'), D('1'), D('2'), D('3'), D('4'), D('5'), D('6'), D('7'),
	D('8'), D('9'), S(':'), S(';'), S('<'), S('='), S('>'), S('?'),
	S('@'), LETTERS_OF_ASCII, S('['), S('\\'), S(']'), S('^'), S('_'),
	S('`'), LETTERS_OF_ASCII, S('{'), S('|'), S('}'), S('~'), B
};

/* What the tables of utf8proc say about the characters below SHORT_CACHE. */
#define SHORT_CACHE 0x800

typedef enum CacheState
{
	NOT_ASKED,
	FOLDED_TO_ONE,
	FOLDED_TO_NONE,
	FOLDED_TO_MORE				/* it is computed each time */
} CacheState;

static struct
{
	uint16		character;
	uint8		class;
	uint8		state;
}			cache[SHORT_CACHE];

/*
 * Is this a letter of a script without blanks between words? Digits and signs of these
 * count as such.
 */
static bool
is_of_unspaced_script(int32 character)
{
	if (character < 0x0E00)
		return false;
	if (character < 0x3000)
		return character < 0x10A0 ||	/* Thai, Lao, Tibetan, Myanmar */
			(character >= 0x1780 && character < 0x1800) ||	/* Khmer */
			(character >= 0x2E80 && character < 0x2FE0);	/* radicals */
	if (character < 0xA000)
		return character < 0x3130 ||	/* Hiragana, Katakana, Bopomofo and what they share */
			(character >= 0x31A0 && character < 0x3200) ||
			character >= 0x3400;	/* Han */
	return (character >= 0xA9E0 && character < 0xAA00) ||	/* more of Myanmar */
		(character >= 0xAA60 && character < 0xAA80) ||
		(character >= 0xF900 && character < 0xFB00) ||	/* more of Han */
		(character >= 0x1AFF0 && character < 0x1B170) ||	/* more of Kana */
		(character >= 0x20000 && character < 0x3FFFE);
}

static AtlasCharacterClass
class_of_letter(int32 character)
{
	return is_of_unspaced_script(character) ? ATLAS_UNSPACED : ATLAS_LETTER;
}

/*
 * Is this mark, of the categories Mn and Mc, one that says how a letter is pronounced or
 * spelled out, and is not a letter itself? The classes that are left are those of vowel signs and
 * of tones (0, 84 to 132) and of the sign for the lack of a vowel (9).
 */
static bool
is_left_out(int combining_class)
{
	return (combining_class > 0 && combining_class < 9) ||
		(combining_class > 9 && combining_class < 84) || combining_class > 132;
}

/* What a character, which is folded already, is. Returns false if it is left out. */
static bool
classify(int32 character, AtlasCharacterClass *class)
{
	const utf8proc_property_t *property = utf8proc_get_property(character);

	if (property->ignorable)
		return false;
	switch (property->category)
	{
		case UTF8PROC_CATEGORY_LU:
		case UTF8PROC_CATEGORY_LL:
		case UTF8PROC_CATEGORY_LT:
		case UTF8PROC_CATEGORY_LM:
		case UTF8PROC_CATEGORY_LO:
			*class = class_of_letter(character);
			return true;
		case UTF8PROC_CATEGORY_MC:
		case UTF8PROC_CATEGORY_MN:
			*class = class_of_letter(character);
			return !is_left_out(property->combining_class);
		case UTF8PROC_CATEGORY_ME:
			return false;
		case UTF8PROC_CATEGORY_NL:
			*class = is_of_unspaced_script(character) ? ATLAS_UNSPACED : ATLAS_DIGIT;
			return true;
		case UTF8PROC_CATEGORY_ND:
		case UTF8PROC_CATEGORY_NO:
			*class = ATLAS_DIGIT;
			return true;
		case UTF8PROC_CATEGORY_ZS:
		case UTF8PROC_CATEGORY_ZL:
		case UTF8PROC_CATEGORY_ZP:
		case UTF8PROC_CATEGORY_CC:
			*class = ATLAS_BLANK;
			return true;
		case UTF8PROC_CATEGORY_CN:	/* Han that is younger than the tables */
			*class = character >= 0x20000 && character < 0x3FFFE ? ATLAS_UNSPACED : ATLAS_SIGN;
			return true;
		default:
			*class = ATLAS_SIGN;
			return true;
	}
}

/*
 * Does the character, which is not folded yet, join the one before it: as the mark of a
 * Kana, the vowel or the end of a syllable of Hangul?
 */
static bool
is_joining(int32 character)
{
	return character == 0x3099 || character == 0x309A ||
		character == 0xFF9E || character == 0xFF9F ||
		(character >= 0x1161 && character <= 0x1175) ||
		(character >= 0x11A8 && character <= 0x11C2) ||
		(character >= 0x314F && character <= 0x3163) ||
		(character >= 0xFFC2 && character <= 0xFFDC);
}

/* Makes one character of two. Returns false if there is none. */
static bool
compose(int32 *character, int32 joining)
{
	utf8proc_int32_t both[2];

	both[0] = *character;
	both[1] = joining;
	if (utf8proc_normalize_utf32(both, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1)
		return false;
	*character = both[0];
	return true;
}

static void
append_folded(AtlasFolder *folder, int32 character, AtlasCharacterClass class)
{
	if (folder->nfolded == ATLAS_MAX_FOLDED)
		return;
	folder->folded[folder->nfolded].character = character;
	folder->folded[folder->nfolded].class = class;
	folder->nfolded++;
}

/* Folds a character with the tables, and appends what it becomes. */
static void
fold_by_tables(AtlasFolder *folder, int32 character)
{
	utf8proc_int32_t parts[ATLAS_MAX_FOLDED];
	utf8proc_ssize_t nparts;
	AtlasCharacterClass class;
	int			boundary = 0;

	nparts = utf8proc_decompose_char(character, parts, lengthof(parts), FOLDING, &boundary);
	if (nparts < 0 || nparts > lengthof(parts))
	{
		append_folded(folder, character, ATLAS_SIGN);
		return;
	}
	for (int i = 0; i < nparts; i++)
	{
		if (folder->nfolded > 0 && is_joining(parts[i]) &&
			compose(&folder->folded[folder->nfolded - 1].character, parts[i]))
			continue;
		if (classify(parts[i], &class))
			append_folded(folder, parts[i], class);
	}
}

/* Folds a character below SHORT_CACHE. */
static void
fold_by_cache(AtlasFolder *folder, int32 character)
{
	int			nbefore = folder->nfolded;

	switch ((CacheState) cache[character].state)
	{
		case FOLDED_TO_ONE:
			append_folded(folder, cache[character].character,
						  (AtlasCharacterClass) cache[character].class);
			return;
		case FOLDED_TO_NONE:
			return;
		case FOLDED_TO_MORE:
			fold_by_tables(folder, character);
			return;
		case NOT_ASKED:
			break;
	}
	fold_by_tables(folder, character);
	if (folder->nfolded == nbefore)
		cache[character].state = FOLDED_TO_NONE;
	else if (folder->nfolded > nbefore + 1 || folder->folded[nbefore].character > PG_UINT16_MAX)
		cache[character].state = FOLDED_TO_MORE;
	else
	{
		cache[character].character = (uint16) folder->folded[nbefore].character;
		cache[character].class = (uint8) folder->folded[nbefore].class;
		cache[character].state = FOLDED_TO_ONE;
	}
}

/* Is it a syllable of Hangul, or a character of Han or Kana, that is folded already? */
static bool
is_folded_already(int32 character)
{
	return (character >= 0x3041 && character <= 0x3096) ||
		(character >= 0x30A1 && character <= 0x30FA) ||
		(character >= 0x4E00 && character <= 0x9FFF) ||
		(character >= 0xAC00 && character <= 0xD7A3);
}

/* Can another character join this one, which is folded? */
static bool
can_be_joined(int32 character)
{
	return (character >= 0x3041 && character <= 0x30FF) ||	/* Kana */
		(character >= 0x1100 && character <= 0x1112) || /* the begin of a syllable */
		(character >= 0xAC00 && character <= 0xD7A3 && (character - 0xAC00) % 28 == 0);
}

/* Appends the next character if it joins the last one. Returns whether it did. */
static bool
join_next(AtlasFolder *folder)
{
	utf8proc_int32_t character;
	utf8proc_int32_t joining;
	utf8proc_ssize_t width;
	int			boundary = 0;

	if (folder->nfolded == 0 ||
		!can_be_joined(folder->folded[folder->nfolded - 1].character))
		return false;
	width = utf8proc_iterate(folder->text + folder->end, folder->length - folder->end,
							 &character);
	if (width <= 0 || !is_joining(character) ||
		utf8proc_decompose_char(character, &joining, 1, FOLDING, &boundary) != 1 ||
		!compose(&folder->folded[folder->nfolded - 1].character, joining))
		return false;
	folder->end += width;
	return true;
}

void
atlas_fold_next_beyond_ascii(AtlasFolder *folder)
{
	utf8proc_int32_t character;
	utf8proc_ssize_t width;

	folder->nfolded = 0;
	width = utf8proc_iterate(folder->text + folder->end, folder->length - folder->end,
							 &character);
	if (width <= 0)
	{
		append_folded(folder, ' ', ATLAS_BLANK);
		folder->end++;
		return;
	}
	folder->end += width;
	if (character < SHORT_CACHE)
		fold_by_cache(folder, character);
	else if (is_folded_already(character))
		append_folded(folder, character,
					  character >= 0xAC00 ? ATLAS_LETTER : ATLAS_UNSPACED);
	else
		fold_by_tables(folder, character);
	while (folder->end < folder->length && join_next(folder))
		continue;
}
