/*
 * lexemes.h
 *		Lexemes that are no words: exact values, the name, the type, the tenant. Their first
 *		byte is a sign, which no word has, and is another one for each kind. So no payload
 *		can pretend to be of another name, type or tenant.
 */
#ifndef ATLAS_LEXEMES_H
#define ATLAS_LEXEMES_H

#include "c.h"

/*
 * A lexeme, palloc'd; not terminated by a zero; never empty, never longer than
 * ATLAS_MAX_LEXEME.
 */
typedef struct AtlasLexeme
{
	const char *text;
	int			length;
} AtlasLexeme;

/* What is longer is shortened, and ends with a hash of all of it. */
#define ATLAS_MAX_LEXEME 100
#define ATLAS_MAX_VALUE_LEXEME 28	/* the same of a value */

extern AtlasLexeme atlas_tenant_lexeme(const text *tenant);
extern bool atlas_is_tenant_lexeme(const char *lexeme);
extern AtlasLexeme atlas_type_lexeme(const char *object_type, int length);	/* as it is stored */
extern AtlasLexeme atlas_name_lexeme(const char *name, int length); /* case and marks do not count */

/*
 * The value of a field of the payload. The key is the last key or the dotted path, and
 * both key and value are folded. A value that is written like a number of JSON is
 * compared as one: 50, 50.0 and 5e1 are the same. Booleans and null are the words true,
 * false, null.
 */
extern AtlasLexeme atlas_value_lexeme(const char *key, int key_length, const char *value, int value_length);

/*
 * The same of a key that has been folded by atlas_fold(), and of the text of the next
 * function.
 */
extern AtlasLexeme atlas_exact_lexeme(const char *folded_key, int key_length,
									  const char *exact, int exact_length);

/* What is compared of a value: its folded text, or that of atlas_number_of_text(). */
extern char *atlas_exact_text(const char *value, int length, int *exact_length);

#endif							/* ATLAS_LEXEMES_H */
