/*
 * conversion.h
 *		Text and JSON of a request, converted without raising an error.
 */
#ifndef ATLAS_CONVERSION_H
#define ATLAS_CONVERSION_H

#include "utils/jsonb.h"

/*
 * Converts a string of the server's encoding to UTF-8. Returns the string itself where the
 * encodings are the same, a palloc'd copy with a final NUL byte where they are not, and
 * NULL if it cannot be converted.
 */
extern char *atlas_to_utf8(const char *string, Size length, Size *utf8_length);

/* The same from UTF-8 to the server's encoding. */
extern char *atlas_from_utf8(const char *utf8, Size length, Size *string_length);

/* A text from UTF-8. NULL if the encoding of the database cannot represent it. */
extern text *atlas_text_from_utf8(const char *utf8, Size length);

/* jsonb from UTF-8. Returns NULL and the reason if it is malformed, or jsonb cannot hold it. */
extern Jsonb *atlas_jsonb_from_utf8(const char *utf8, Size length, const char **reason);

#endif							/* ATLAS_CONVERSION_H */
