/*
 * leaf_search.h
 *		One table in which objects are searched: the registered one itself, or
 *		one of its partitions or children.
 */
#ifndef ATLAS_LEAF_SEARCH_H
#define ATLAS_LEAF_SEARCH_H

#include "utils/hsearch.h"

#include "objects/index_lookup.h"

/* The columns of a registered table by their names; an empty name is no column. */
typedef struct AtlasColumnNames
{
	NameData	id;
	NameData	external_id;
	NameData	tenant;
	NameData	label;
} AtlasColumnNames;

/* The same columns as they are in one table. */
typedef struct AtlasColumns
{
	AtlasKeyColumn id;
	AtlasKeyColumn external_id;
	AtlasKeyColumn tenant;
	AtlasKeyColumn label;		/* none also if there is no such column any more */
} AtlasColumns;

typedef struct AtlasLeaf
{
	Oid			relation;		/* hash key, where there are many */
	bool		valid;			/* what follows still holds */
	AtlasColumns columns;
	AtlasLookupIndex id_index;
	AtlasLookupIndex external_id_index;
} AtlasLeaf;

/* An object that is looked for in a leaf; key and tenant are values of the columns' types. */
typedef struct AtlasWanted
{
	int			number;			/* the caller's own, which AtlasFound gets back */
	bool		by_external_id;
	bool		with_label;		/* its label is wanted, too */
	text	   *key_text;		/* what was asked for */
	Datum		key;
	Datum		tenant;
} AtlasWanted;

/*
 * This is called with each row that is found. external_id may be NULL, and label is NULL
 * unless it is wanted. It returns whether further rows for the same object matter.
 */
typedef bool (*AtlasFound) (void *searcher, int number, text *id, text *external_id,
							text *label);

/*
 * Finds the columns of a table, whose types must be those that ids can have. Returns
 * NULL, or why they cannot be used. A label column that cannot be used is none: objects
 * are found without it.
 */
extern const char *atlas_find_columns(Oid relation, const AtlasColumnNames *names,
									  AtlasColumns *columns);

/* Finds columns and indexes of a table, which is locked. Returns NULL, or why it cannot be used. */
extern const char *atlas_read_leaf(Oid relation, const AtlasColumnNames *names, AtlasLeaf *leaf);

/*
 * Searches a leaf, which is locked, for all that is wanted: in its indexes, or in one pass
 * over the table where it has no index for it.
 */
extern void atlas_search_leaf(const AtlasLeaf *leaf, const AtlasWanted *wanted, int nwanted,
							  AtlasFound found, void *searcher);

#endif							/* ATLAS_LEAF_SEARCH_H */
