/*
 * column_index.h
 *		Finding the index of a column whose operators are the ones that are wanted.
 */
#ifndef ATLAS_COLUMN_INDEX_H
#define ATLAS_COLUMN_INDEX_H

#include "utils/relcache.h"

/* Is the operator class of an index one that is wanted? */
typedef bool (*AtlasIsWantedClass) (Oid opclass);

/* An index of this column alone, which has all rows of the table; InvalidOid if there is none. */
extern Oid	atlas_column_index(Relation relation, AttrNumber column, AtlasIsWantedClass is_wanted);

#endif							/* ATLAS_COLUMN_INDEX_H */
