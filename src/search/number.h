/*
 * number.h
 *		Numbers as exact values: those that are equal have the same text.
 */
#ifndef ATLAS_NUMBER_H
#define ATLAS_NUMBER_H

#include "utils/numeric.h"

/*
 * Is this text, which is folded, written like a number of JSON? Then it returns the one
 * text that all texts of this number share: 50 for 50.0 and 5e1. Else it returns NULL.
 */
extern char *atlas_number_of_text(const char *text, int length, int *number_length);

/* The texts of a number of jsonb, palloc'd. */
typedef struct AtlasNumberTexts
{
	const char *exact;			/* as above */
	int			exact_length;
	const char *printed;		/* as it is printed, for its words; exact if that has very many zeros */
	int			printed_length;
} AtlasNumberTexts;

extern void atlas_number_texts(Numeric numeric, AtlasNumberTexts *texts);

#endif							/* ATLAS_NUMBER_H */
