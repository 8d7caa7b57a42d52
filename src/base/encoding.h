/*
 * encoding.h
 *		Characters of the database's texts.
 */
#ifndef ATLAS_ENCODING_H
#define ATLAS_ENCODING_H

#include "c.h"

/*
 * The encoding of the texts. A database of SQL_ASCII does not know it; it is most likely that
 * of Unicode.
 */
extern int	atlas_text_encoding(void);

/* The length of a text without what is over the limit, in bytes; no character is cut in two. */
extern int	atlas_clipped_length(const char *text, int length, int limit);

#endif							/* ATLAS_ENCODING_H */
