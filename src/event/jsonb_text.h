/*
 * jsonb_text.h
 *		The length of the text of jsonb, and a canonical form of it.
 */
#ifndef ATLAS_JSONB_TEXT_H
#define ATLAS_JSONB_TEXT_H

#include "utils/jsonb.h"

/* The number of bytes of its text, without making that text. */
extern Size atlas_jsonb_text_length(JsonbContainer *jsonb);

/* Takes some bytes of a canonical form. */
typedef void (*AtlasTakeBytes) (void *taker, const void *bytes, Size length);

/*
 * Gives the canonical form to the taker, in parts. Two values of jsonb are equal if and
 * only if these bytes are.
 */
extern void atlas_jsonb_canonical(JsonbContainer *jsonb, AtlasTakeBytes take, void *taker);

#endif							/* ATLAS_JSONB_TEXT_H */
