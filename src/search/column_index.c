/*
 * column_index.c
 *		Finding the index of a column whose operators are the ones that are wanted.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_index.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "read/index_reader.h"
#include "search/column_index.h"

/* Is it an index of this column alone, with an operator class that is wanted? */
static bool
is_index_of_column(HeapTuple tuple, AttrNumber column, AtlasIsWantedClass is_wanted)
{
	const FormData_pg_index *form = (const FormData_pg_index *) GETSTRUCT(tuple);
	bool		isnull;
	Datum		classes = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indclass, &isnull);

	return atlas_index_is_plain(tuple) && form->indnkeyatts == 1 &&
		form->indkey.values[0] == column &&
		is_wanted(((const oidvector *) DatumGetPointer(classes))->values[0]);
}

Oid
atlas_column_index(Relation relation, AttrNumber column, AtlasIsWantedClass is_wanted)
{
	List	   *indexes = RelationGetIndexList(relation);
	Oid			found = InvalidOid;

	for (int i = 0; i < list_length(indexes) && !OidIsValid(found); i++)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(list_nth_oid(indexes, i)));

		if (!HeapTupleIsValid(tuple))
			continue;
		if (is_index_of_column(tuple, column, is_wanted))
			found = list_nth_oid(indexes, i);
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}
