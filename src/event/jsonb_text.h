/*
 * jsonb_text.h
 *		The length of the text of jsonb, and a canonical form of it.
 */
#ifndef ATLAS_JSONB_TEXT_H
#define ATLAS_JSONB_TEXT_H

#include "utils/jsonb.h"

/* The number of bytes of its text, without making that text. */
extern Size atlas_jsonb_text_length(JsonbContainer *jsonb);

/* A number in decimal: its value is 0.DIGITS times 10 to the power of point. */
typedef struct AtlasDecimal
{
	bool		is_negative;	/* false for zero */
	char	   *digits;			/* palloc'd; no zeros at either end */
	int			ndigits;		/* 0 for zero */
	int			point;
	int			scale;			/* digits behind the point where it is printed */
} AtlasDecimal;

/* A number of jsonb in decimal. The digits are as many as are stored, even of 1e131071. */
extern void atlas_numeric_to_decimal(Numeric numeric, AtlasDecimal *decimal);

/* Takes some bytes of a canonical form. */
typedef void (*AtlasTakeBytes) (void *taker, const void *bytes, Size length);

/*
 * Gives the canonical form to the taker, in parts. Two values of jsonb are equal if and
 * only if these bytes are.
 */
extern void atlas_jsonb_canonical(JsonbContainer *jsonb, AtlasTakeBytes take, void *taker);

#endif							/* ATLAS_JSONB_TEXT_H */
