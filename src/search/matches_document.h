/*
 * matches_document.h
 *		Does a document match a query, and how frequent are the query's lexemes?
 */
#ifndef ATLAS_MATCHES_DOCUMENT_H
#define ATLAS_MATCHES_DOCUMENT_H

#include "tsearch/ts_type.h"

/* A query, and what has been seen of its lexemes. */
typedef struct AtlasDocumentQuery
{
	TSQuery		query;
	bool		is_exact;		/* the lexemes of a document decide; places and weights do not matter */
	int			nsampled;		/* documents in which each of the lexemes was looked for */
	int		   *nfound;			/* in how many of them each item of the query was */
} AtlasDocumentQuery;

extern void atlas_document_query_init(AtlasDocumentQuery *query, TSQuery tsquery);

/* Begins to fetch the document into the caches of the processor, all of it at once. */
extern void atlas_document_prefetch(TSVector document);

/*
 * Does the document, which is one of the query's tenant, have the lexemes that the query asks
 * for? So a GIN index finds it.
 */
extern bool atlas_document_may_match(const AtlasDocumentQuery *query, TSVector document);

/* Does a document that may match do so? */
extern bool atlas_document_matches(const AtlasDocumentQuery *query, TSVector document);

/* Looks for each lexeme of the query. */
extern void atlas_document_sample(AtlasDocumentQuery *query, TSVector document);

/*
 * The share of documents whose entries a GIN index reads in order to find those that may
 * match: those of the rarest lexemes of which it must have one.
 */
extern double atlas_document_share_read(const AtlasDocumentQuery *query);

/*
 * What an index is asked for: the query, without the lexemes that are in at least every second
 * document, if others are required as well. The index would go through all places of such a
 * lexeme to leave out a few documents, which need not be read anyway unless they are among the newest. The
 * tenant's is left out if there are no other tenants.
 */
extern TSQuery atlas_document_index_query(const AtlasDocumentQuery *query, bool is_only_tenant);

/* How many of its lexemes are prefixes. */
extern int	atlas_document_prefixes(const AtlasDocumentQuery *query);

#endif							/* ATLAS_MATCHES_DOCUMENT_H */
