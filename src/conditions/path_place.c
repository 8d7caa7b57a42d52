/*
 * path_place.c
 *		A place in an SQL/JSON path, in words for people.
 *
 * PostgreSQL prints paths as a whole only, and quotes every key.
 */
#include "postgres.h"

#include "base/encoding.h"
#include "conditions/path_place.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"

/* Can the key be written without quotes? */
static bool
is_plain_key(const char *key)
{
	return strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(key) &&
		key[0] != '\0' && (key[0] < '0' || key[0] > '9');
}

static void
put_key(StringInfo place, JsonPathItem *item)
{
	char	   *key = jspGetString(item, NULL);

	appendStringInfoChar(place, '.');
	if (is_plain_key(key))
		appendStringInfoString(place, key);
	else
		escape_json(place, key);
}

/* Adds an item of a chain as it is written, but for its arguments. */
static void
put_item(StringInfo place, JsonPathItem *item)
{
	switch (item->type)
	{
		case jpiRoot:
			appendStringInfoChar(place, '$');
			break;
		case jpiCurrent:
			appendStringInfoChar(place, '@');
			break;
		case jpiKey:
			put_key(place, item);
			break;
		case jpiAnyKey:
			appendStringInfoString(place, ".*");
			break;
		case jpiAny:
			appendStringInfoString(place, ".**");
			break;
		case jpiAnyArray:
			appendStringInfoString(place, "[*]");
			break;
		case jpiIndexArray:
			appendStringInfoString(place, "[...]");
			break;
		case jpiFilter:
			appendStringInfoString(place, " ? (...)");
			break;
		case jpiLast:
			appendStringInfoString(place, "last");
			break;
		case jpiString:
			escape_json(place, jspGetString(item, NULL));
			break;
		case jpiVariable:
			appendStringInfo(place, "$%s", jspGetString(item, NULL));
			break;
		case jpiType:
		case jpiSize:
		case jpiAbs:
		case jpiFloor:
		case jpiCeiling:
		case jpiDouble:
		case jpiDatetime:
		case jpiKeyValue:
			appendStringInfo(place, ".%s()", jspOperationName(item->type));
			break;
		default:
			appendStringInfoString(place, "(...)");
			break;
	}
}

/* Takes the beginning of a long place away, between two characters. */
static void
shorten(StringInfo place)
{
	const char *rest = place->data;

	if (place->len <= ATLAS_MAX_PLACE)
		return;
	while (place->data + place->len - rest > ATLAS_MAX_PLACE - 3)
		rest += pg_encoding_mblen(atlas_text_encoding(), rest);
	memmove(place->data + 3, rest, strlen(rest) + 1);
	memcpy(place->data, "...", 3);
	place->len = strlen(place->data);
}

char *
atlas_path_place(JsonPathItem *first, const JsonPathItem *item)
{
	StringInfoData place;
	JsonPathItem at = *first;
	JsonPathItem next;

	initStringInfo(&place);
	while (item == NULL || at.base != item->base)
	{
		CHECK_FOR_INTERRUPTS();
		put_item(&place, &at);
		if (!jspGetNext(&at, &next))
			break;
		at = next;
	}
	shorten(&place);
	return place.data;
}
