/*
 * utf8_text.h
 *		A text of the server as UTF-8, and back, whatever is in it.
 */
#ifndef ATLAS_UTF8_TEXT_H
#define ATLAS_UTF8_TEXT_H

#include "c.h"

typedef struct AtlasUtf8Text
{
	const char *text;
	int			length;
	int		   *offsets;		/* where each byte comes from, and the end; NULL: they are the same */
} AtlasUtf8Text;

/*
 * Converts a text from the encoding of the server. What UTF-8 does not have becomes a
 * blank. A database of the encoding UTF8 or SQL_ASCII gets the text itself, whose bytes
 * the reader must check.
 */
extern void atlas_to_utf8_text(const char *text, int length, AtlasUtf8Text *utf8);

/* Are words of UTF-8 to be converted before they are stored in this database? */
extern bool atlas_utf8_is_foreign(void);

/*
 * Converts UTF-8 to the encoding of the server. Returns NULL if that lacks one of the
 * characters; the text itself if nothing must be converted.
 */
extern const char *atlas_from_utf8_text(const char *utf8, int length, int *text_length);

#endif							/* ATLAS_UTF8_TEXT_H */
