/*
 * query.h
 *		What people type into a search box, as a tsquery.
 *
 *		checkout failed			both words, anywhere in an event
 *		"checkout failed"		these words, one after the other
 *		ORD-4711				a word with several parts is a phrase of them
 *		-failed					without this word; also -"a phrase" and -field:value
 *		visa OR paypal			one of the two. OR binds closer than blanks do: a b OR c is
 *								a and (b or c)
 *		check*					words that begin so; in a phrase its last word: "checkout fa*"
 *		amount:50				the payload has this value under this key, exactly; the key is
 *								the last one or the dotted path
 *		city:"New York"			a value with blanks; "" within the quotes is one quote
 *		"Order No":4711			a key with blanks
 *		name:"Order Placed"		events of this name
 *		type:customer			events whose primary object is of this type; aliases count
 *		payload.name:Priya		always the payload, also for the keys name and type
 *
 * Blanks stand between terms, and parentheses are blanks. Any text is a query, and nothing
 * raises an error:
 * - A quote that is not closed ends with the text.
 * - A key begins with a letter or "_". What looks like a field but has no key or no value,
 *   or where ":" is followed by ":" or by two slashes, is words: 12:30, amount:, std::map,
 *   http://example.com.
 * - OR that does not stand between two terms is a word, and so is "or".
 * - A hyphen counts only in front of a term; --force is a word. A star counts only at its end.
 * - What has no letters and digits, like a hyphen or a star alone, is nothing.
 */
#ifndef ATLAS_QUERY_H
#define ATLAS_QUERY_H

#include "tsearch/ts_type.h"
#include "tsearch/ts_utils.h"

/* A term is one word or one exact value. A phrase has as many terms as words. */
#define ATLAS_MAX_TERMS 64

/* Bytes of a query that are read. */
#define ATLAS_MAX_QUERY_LENGTH 65536

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
 * Parses a query. The result is in the current memory context, and independent of the text.
 * It reads the registry of object types, for type:.
 */
extern void atlas_parse_query(const char *text, int length, AtlasSearchQuery *query);

/*
 * The query as documents are compared with it, which have the lexeme of the tenant, and
 * those of the type and of the name unless these are NULL. The type is canonical.
 */
extern TSQuery atlas_query_for(const AtlasSearchQuery *query, const text *tenant,
							   const text *object_type, const text *name);

/*
 * Can a GIN index find the documents, or would it have to read all of them? It cannot
 * where a query, apart from the tenant, can be satisfied by negations alone, or has no terms.
 */
extern bool atlas_query_is_indexable(const AtlasSearchQuery *query);

#endif							/* ATLAS_QUERY_H */
