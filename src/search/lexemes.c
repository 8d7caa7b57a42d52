/*
 * lexemes.c
 *		Lexemes that are no words: exact values, the name, the type, the tenant.
 *
 * The first byte says which of these a lexeme is. It is a sign, and words have no signs,
 * so that nothing that is written in an event makes one of these lexemes but the field
 * that it belongs to. In the lexeme of a value a tab stands between the key and the
 * value, because in a folded text every blank is a space.
 *
 * A lexeme that is too long is cut, and a hash of all of it follows: that of Fowler, Noll
 * and Vo (FNV-1a) of 64 bits, which is the same on every machine and in every version. A
 * lexeme that was cut is longer than each that was not, so that one cannot pretend to be the
 * other. Values are cut early, because there are many of them, and nobody looks for a part of
 * one by its key.
 */
#include "postgres.h"


#include "base/compat.h"
#include "base/encoding.h"
#include "search/lexemes.h"
#include "search/number.h"
#include "search/words.h"

#define KIND_TENANT '!'
#define KIND_TYPE '#'
#define KIND_NAME '@'
#define KIND_VALUE '='
#define VALUE_FOLLOWS '\t'

#define MAX_WHOLE 96			/* bytes of one that is not cut */
#define MAX_WHOLE_VALUE 24
#define CUT 8					/* bytes less than that are kept of one that is; 11 in the middle of a character */
#define HASH_DIGITS 11			/* of six bits each */
#define HASH_ROOM (1 + HASH_DIGITS - CUT)

#define FNV_OFFSET UINT64CONST(0xcbf29ce484222325)
#define FNV_PRIME UINT64CONST(0x100000001b3)

/* Writes a sign and the digits of a hash. */
static void
write_hash(char *text, uint64 hash)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

	*text++ = '~';
	for (int i = 0; i < HASH_DIGITS; i++, hash <<= 6)
		*text++ = digits[hash >> 58];
}

/* Shortens a lexeme. There is room for HASH_ROOM bytes behind the text. */
static AtlasLexeme
finish_lexeme(char *text, Size length, int max_whole)
{
	AtlasLexeme lexeme = {text, length};
	uint64		hash = FNV_OFFSET;
	int			kept;

	if (length <= max_whole)
		return lexeme;
	for (Size i = 0; i < length; i++)
		hash = (hash ^ (unsigned char) text[i]) * FNV_PRIME;
	kept = atlas_clipped_length(text, max_whole, max_whole - CUT);
	write_hash(text + kept, hash);
	lexeme.length = kept + 1 + HASH_DIGITS;
	return lexeme;
}

static AtlasLexeme
make_lexeme(char kind, const char *text, int length)
{
	char	   *lexeme = palloc((Size) length + 1 + HASH_ROOM);

	lexeme[0] = kind;
	memcpy(lexeme + 1, text, length);
	return finish_lexeme(lexeme, (Size) length + 1, MAX_WHOLE);
}

AtlasLexeme
atlas_tenant_lexeme(const text *tenant)
{
	return make_lexeme(KIND_TENANT, VARDATA_ANY(tenant), VARSIZE_ANY_EXHDR(tenant));
}

bool
atlas_is_tenant_lexeme(const char *lexeme)
{
	return *lexeme == KIND_TENANT;
}

AtlasLexeme
atlas_type_lexeme(const char *object_type, int length)
{
	return make_lexeme(KIND_TYPE, object_type, length);
}

AtlasLexeme
atlas_name_lexeme(const char *name, int length)
{
	int			folded_length;
	char	   *folded = atlas_fold(name, length, &folded_length);

	return make_lexeme(KIND_NAME, folded, folded_length);
}

char *
atlas_exact_text(const char *value, int length, int *exact_length)
{
	int			folded_length;
	char	   *folded = atlas_fold(value, length, &folded_length);
	char	   *number = atlas_number_of_text(folded, folded_length, exact_length);

	if (number != NULL)
		return number;
	*exact_length = folded_length;
	return folded;
}

AtlasLexeme
atlas_exact_lexeme(const char *folded_key, int key_length, const char *exact, int exact_length)
{
	Size		length = (Size) key_length + exact_length + 2;
	char	   *lexeme = palloc_extended(length + HASH_ROOM, MCXT_ALLOC_HUGE);

	lexeme[0] = KIND_VALUE;
	memcpy(lexeme + 1, folded_key, key_length);
	lexeme[key_length + 1] = VALUE_FOLLOWS;
	memcpy(lexeme + key_length + 2, exact, exact_length);
	return finish_lexeme(lexeme, length, MAX_WHOLE_VALUE);
}

AtlasLexeme
atlas_value_lexeme(const char *key, int key_length, const char *value, int value_length)
{
	int			folded_key_length;
	int			exact_length;
	char	   *folded_key = atlas_fold(key, key_length, &folded_key_length);
	char	   *exact = atlas_exact_text(value, value_length, &exact_length);

	return atlas_exact_lexeme(folded_key, folded_key_length, exact, exact_length);
}
