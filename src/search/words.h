/*
 * words.h
 *		Cutting text into words, the same way in documents and in queries.
 *
 * Case and marks do not count: CAFÉ and café become cafe (see fold.c). A word is a run of
 * letters or a run of digits, and takes one position. A run in which letters and digits
 * touch is a word as well, together: X12Y has the words x, 12, y and, at the position of
 * x, x12y. Scripts without blanks between words are cut into pairs of characters that
 * overlap, each at its own position; the last character stands alone as well, behind
 * them.
 */
#ifndef ATLAS_WORDS_H
#define ATLAS_WORDS_H

#include "c.h"

typedef enum AtlasWordKind
{
	ATLAS_WORD,					/* letters only, or digits only */
	ATLAS_WORD_TOGETHER,		/* letters and digits; its parts have come before it */
	ATLAS_WORD_PAIR,			/* two characters of a script without blanks */
	ATLAS_WORD_LAST				/* the last character of a run of these, or the only one */
} AtlasWordKind;

typedef struct AtlasWord
{
	AtlasWordKind kind;
	const char *text;			/* folded, in the encoding of the server, not terminated by a zero */
	int			length;			/* in bytes; at most ATLAS_MAX_WORD */
	int			position;		/* among the words of the text, from 0; a word together has that of its first part */
	int			start;			/* where it is in the text, in bytes */
	int			end;			/* behind its last byte */
} AtlasWord;

#define ATLAS_MAX_WORD 255		/* bytes; what is longer is cut at a character */

typedef struct AtlasWords
{
	AtlasWord  *items;
	int			nitems;
	int			npositions;
} AtlasWords;

/*
 * Cuts a text in the encoding of the server into words. Raises nothing but a cancel or a
 * lack of memory: what cannot be read counts as a blank. The words are in the current
 * memory context, in the order of their positions, but for a word together, which comes
 * behind its parts.
 */
extern void atlas_split(const char *text, int length, AtlasWords *words);

/*
 * Folds a text as a whole: case, marks and width do not count, a run of blanks is one
 * space, and there are none at the ends. Signs stay. For the exact values of lexemes.h.
 * The text is palloc'd and not terminated by a zero.
 */
extern char *atlas_fold(const char *text, int length, int *folded_length);

#endif							/* ATLAS_WORDS_H */
