/*
 * query.h
 *		What people type into a search box, as a tsquery: words (all of them), "phrases",
 *		-not, OR, prefix*, field:value, field:"value with blanks", name:"…", type:….
 */
#ifndef ATLAS_QUERY_H
#define ATLAS_QUERY_H

#include "tsearch/ts_type.h"
#include "tsearch/ts_utils.h"

#define ATLAS_MAX_TERMS 64

/* A word that a headline marks. */
typedef struct AtlasMarkedWord
{
	const char *text;			/* folded */
	int			length;
	bool		is_prefix;
} AtlasMarkedWord;

typedef struct AtlasSearchQuery
{
	QTNode	   *root;			/* NULL: no terms, which every event satisfies */
	int			nterms;
	int			nleft_out;		/* terms beyond ATLAS_MAX_TERMS */
	AtlasMarkedWord *marked;	/* of the terms that are not negated */
	int			nmarked;
} AtlasSearchQuery;

/*
 * Parses a query. Every text is one: what cannot be understood is searched as words. The
 * result is in the current memory context.
 */
extern void atlas_parse_query(const char *text, int length, AtlasSearchQuery *query);

/*
 * The query as documents are compared with it, which have the lexeme of the tenant, and
 * those of the type and of the name unless these are NULL.
 */
extern TSQuery atlas_query_for(const AtlasSearchQuery *query, const text *tenant,
							   const text *object_type, const text *name);

/*
 * Can a GIN index find the documents, or would it have to read all of them? It cannot
 * where a query, apart from the tenant, consists of negations.
 */
extern bool atlas_query_is_indexable(const AtlasSearchQuery *query);

#endif							/* ATLAS_QUERY_H */
