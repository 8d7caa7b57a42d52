/*
 * encoding.c
 *		Characters of the database's texts.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/encoding.h"

int
atlas_text_encoding(void)
{
	return GetDatabaseEncoding() == PG_SQL_ASCII ? PG_UTF8 : GetDatabaseEncoding();
}

int
atlas_clipped_length(const char *text, int length, int limit)
{
	return pg_encoding_mbcliplen(atlas_text_encoding(), text, length, limit);
}
