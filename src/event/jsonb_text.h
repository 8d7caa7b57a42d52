/*
 * jsonb_text.h
 *		What jsonb is when it is printed, and what it is whatever it is written like.
 */
#ifndef ATLAS_JSONB_TEXT_H
#define ATLAS_JSONB_TEXT_H

#include "utils/jsonb.h"

/* The bytes of its text, without making that text. */
extern Size atlas_jsonb_text_length(JsonbContainer *jsonb);

/* Takes some bytes of a canonical form. */
typedef void (*AtlasTakeBytes) (void *taker, const void *bytes, Size length);

/*
 * Gives a canonical form to the taker, in parts: two values of jsonb are equal if and
 * only if these bytes are.
 */
extern void atlas_jsonb_canonical(JsonbContainer *jsonb, AtlasTakeBytes take, void *taker);

#endif							/* ATLAS_JSONB_TEXT_H */
