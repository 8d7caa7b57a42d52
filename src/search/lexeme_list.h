/*
 * lexeme_list.h
 *		Lexemes in the order in which they come, and the tsvector that they make.
 */
#ifndef ATLAS_LEXEME_LIST_H
#define ATLAS_LEXEME_LIST_H

#include "tsearch/ts_type.h"

/* The weights of a tsvector. */
#define ATLAS_WEIGHT_A 3
#define ATLAS_WEIGHT_B 2
#define ATLAS_WEIGHT_C 1

/* A lexeme at a place. */
typedef struct AtlasPlacedLexeme
{
	uint64		first_bytes;	/* compare like the first eight bytes of the text */
	const char *text;
	int			length;
	uint16		position;		/* from 1; 0: it has none */
	uint16		weight;
} AtlasPlacedLexeme;

typedef struct AtlasLexemeList
{
	AtlasPlacedLexeme *items;
	int			nitems;
	int			room;
	int			size;			/* at least what the texts and positions need in a tsvector */
} AtlasLexemeList;

extern void atlas_lexeme_list_init(AtlasLexemeList *list);

/*
 * Adds a lexeme, of which the list keeps the pointer. It has no position if position,
 * which counts from 1, is 0 or beyond what a tsvector can hold. Does nothing if it would
 * be too much for a tsvector, less so many bytes.
 */
extern void atlas_lexeme_list_add(AtlasLexemeList *list, const char *text, int length,
								  int position, int weight, int reserved);

/* Makes the tsvector, palloc'd, and changes the order of the list. */
extern TSVector atlas_lexeme_list_to_tsvector(AtlasLexemeList *list);

#endif							/* ATLAS_LEXEME_LIST_H */
