/*
 * json.c
 *		Building JSON with jansson inside a server.
 *
 * jansson does not use memory contexts: whoever makes a json_t frees it, also in a
 * PG_CATCH or PG_FINALLY, and jansson calls nothing that may raise an error.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/json.h"

json_t *
atlas_json_object(void)
{
	return json_pack("{}");
}

json_t *
atlas_json_string(const char *string)
{
	char	   *utf8 = pg_server_to_any(string, strlen(string), PG_UTF8);

	return json_string(utf8);
}

char *
atlas_json_to_string(json_t *json)
{
	size_t		flags = JSON_COMPACT;
	char	   *buffer = NULL;

	if (json == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed while building JSON.")));

	/* Pure ASCII is text in every encoding, and SQL_ASCII takes UTF-8 as it is. */
	if (GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII)
		flags |= JSON_ENSURE_ASCII;

	PG_TRY();
	{
		size_t		size = json_dumpb(json, NULL, 0, flags);

		buffer = palloc(size + 1);
		if (size == 0 || json_dumpb(json, buffer, size, flags) != size)
			elog(ERROR, "could not write JSON");
		buffer[size] = '\0';
	}
	PG_FINALLY();
	{
		json_decref(json);
	}
	PG_END_TRY();

	return buffer;
}
