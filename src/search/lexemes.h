/*
 * lexemes.h
 *		Lexemes that are no words: exact values, the name, the type, the tenant. Their first
 *		byte is one that no word has, and is another one for each kind. So no payload can
 *		pretend to be of another name, type or tenant.
 */
#ifndef ATLAS_LEXEMES_H
#define ATLAS_LEXEMES_H

#include "c.h"

/* A lexeme; not terminated by a zero. */
typedef struct AtlasLexeme
{
	const char *text;
	int			length;
} AtlasLexeme;

/* What is long is shortened, and ends with a hash of all of it. */
extern AtlasLexeme atlas_tenant_lexeme(const text *tenant);
extern AtlasLexeme atlas_type_lexeme(const char *object_type, int length);
extern AtlasLexeme atlas_name_lexeme(const char *name, int length);	/* folded: case and marks do not count */

/*
 * The value of a field of the payload. The key is the last key or the dotted path, and both
 * key and value are folded. A value that is written like a number is compared as one: 50, 50.0 and 5e1
 * are the same. Booleans and null are the words true, false, null.
 */
extern AtlasLexeme atlas_value_lexeme(const char *key, int key_length, const char *value, int value_length);

#endif							/* ATLAS_LEXEMES_H */
