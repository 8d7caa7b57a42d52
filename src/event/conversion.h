/*
 * conversion.h
 *		Text and JSON of a request, converted without raising an error.
 */
#ifndef ATLAS_CONVERSION_H
#define ATLAS_CONVERSION_H

#include "utils/jsonb.h"

/*
 * A string of the server's encoding as UTF-8, or NULL if that cannot be: the string
 * itself where the encodings are the same, else a palloc'd copy with a final NUL byte.
 */
extern char *atlas_to_utf8(const char *string, Size length, Size *utf8_length);

/* The other way round. */
extern char *atlas_from_utf8(const char *utf8, Size length, Size *string_length);

/* A text from UTF-8; NULL if the database's encoding cannot represent it. */
extern text *atlas_text_from_utf8(const char *utf8, Size length);

/* jsonb from UTF-8, which is well-formed or not; NULL, and the reason, if it cannot be. */
extern Jsonb *atlas_jsonb_from_utf8(const char *utf8, Size length, const char **reason);

#endif							/* ATLAS_CONVERSION_H */
