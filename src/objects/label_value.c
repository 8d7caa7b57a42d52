/*
 * label_value.c
 *		Values of label columns: which types they may have, and their text.
 *
 * A label is text of others and may be long. No more of it is read than is shown.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "objects/id_value.h"
#include "objects/label_value.h"

/* Of the types that are not part of PostgreSQL, citext is the only one that ids can have. */
Oid
atlas_label_base_type(Oid type)
{
	Oid			base = getBaseType(type);

	switch (base)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
			return base;
		default:
			return base >= FirstNormalObjectId ? atlas_external_id_base_type(base) : InvalidOid;
	}
}

/* The blanks at the end of a char are padding. */
text *
atlas_label_to_text(Oid base_type, Datum value)
{
	text	   *label;
	const char *string;
	int			length;

	if (base_type == NAMEOID)
		return cstring_to_text(NameStr(*DatumGetName(value)));
	label = DatumGetTextPSlice(value, 0, ATLAS_MAX_LABEL * MAX_MULTIBYTE_CHAR_LEN);
	string = VARDATA_ANY(label);
	length = pg_mbcharcliplen(string, VARSIZE_ANY_EXHDR(label), ATLAS_MAX_LABEL);
	while (base_type == BPCHAROID && length > 0 && string[length - 1] == ' ')
		length--;
	return cstring_to_text_with_len(string, length);
}
