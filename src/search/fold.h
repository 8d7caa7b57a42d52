/*
 * fold.h
 *		Reading UTF-8 character by character, without case, marks and width.
 */
#ifndef ATLAS_FOLD_H
#define ATLAS_FOLD_H

#include "c.h"

/* What a folded character is to the splitter of words.c. */
typedef enum AtlasCharacterClass
{
	ATLAS_BLANK,				/* blanks, controls, and bytes that are no UTF-8 */
	ATLAS_SIGN,					/* what stands between words as well: punctuation, symbols */
	ATLAS_LETTER,
	ATLAS_DIGIT,
	ATLAS_UNSPACED				/* a character of a script without blanks between words */
} AtlasCharacterClass;

typedef struct AtlasFolded
{
	int32		character;
	AtlasCharacterClass class;
} AtlasFolded;

/* No character is folded to more than 18, and one can be joined by a mark. */
#define ATLAS_MAX_FOLDED 24

/* Reads a text. The callers look at all but text and length. */
typedef struct AtlasFolder
{
	const unsigned char *text;
	int			length;
	int			start;			/* what was read last, in bytes */
	int			end;			/* behind it: here is read next */
	int			nfolded;		/* 0 for a mark, or a character that has no meaning of its own */
	AtlasFolded folded[ATLAS_MAX_FOLDED];
} AtlasFolder;

/* The characters of ASCII, folded. */
extern const AtlasFolded atlas_folded_ascii[128];

/* Reads the next character, which is not of ASCII. For atlas_fold_next(). */
extern void atlas_fold_next_beyond_ascii(AtlasFolder *folder);

static inline void
atlas_fold_begin(AtlasFolder *folder, const char *utf8, int length)
{
	folder->text = (const unsigned char *) utf8;
	folder->length = length;
	folder->end = 0;
}

/* Reads the next character, and those that make one with it. Returns false at the end. */
static inline bool
atlas_fold_next(AtlasFolder *folder)
{
	unsigned char byte;

	if (folder->end >= folder->length)
		return false;
	folder->start = folder->end;
	byte = folder->text[folder->end];
	if (byte >= 0x80)
	{
		atlas_fold_next_beyond_ascii(folder);
		return true;
	}
	folder->folded[0] = atlas_folded_ascii[byte];
	folder->nfolded = 1;
	folder->end++;
	return true;
}

/* The longest character of UTF-8. */
#define ATLAS_MAX_UTF8 4

/* Writes a character and returns its length in bytes. */
static inline int
atlas_write_utf8(char *utf8, int32 character)
{
	if (character < 0x80)
	{
		utf8[0] = (char) character;
		return 1;
	}
	if (character < 0x800)
	{
		utf8[0] = (char) (0xC0 | character >> 6);
		utf8[1] = (char) (0x80 | (character & 0x3F));
		return 2;
	}
	if (character < 0x10000)
	{
		utf8[0] = (char) (0xE0 | character >> 12);
		utf8[1] = (char) (0x80 | (character >> 6 & 0x3F));
		utf8[2] = (char) (0x80 | (character & 0x3F));
		return 3;
	}
	utf8[0] = (char) (0xF0 | character >> 18);
	utf8[1] = (char) (0x80 | (character >> 12 & 0x3F));
	utf8[2] = (char) (0x80 | (character >> 6 & 0x3F));
	utf8[3] = (char) (0x80 | (character & 0x3F));
	return 4;
}

#endif							/* ATLAS_FOLD_H */
