/*
 * document.h
 *		The document by which an event is found.
 */
#ifndef ATLAS_DOCUMENT_H
#define ATLAS_DOCUMENT_H

#include "tsearch/ts_type.h"
#include "utils/jsonb.h"

/* Setting, see atlas_events.c: bytes of the text of an event that are cut into words. */
extern int	atlas_search_text_limit;

/* What is found of an event. */
typedef struct AtlasDocumentSource
{
	const text *tenant;
	const text *object_type;	/* of the primary object */
	const text *name;
	const text *description;	/* NULL if there is none, as below */
	Jsonb	   *payload;
} AtlasDocumentSource;

/*
 * Makes the document, palloc'd: the words of the name (weight A), of the description
 * without its tags (B) and of the values of the payload (C), with gaps between fields, so
 * that no phrase goes from one to the next; and the lexemes of lexemes.h. What is over
 * the limits is cut; the lexemes of tenant, type and name are always there. Raises
 * nothing but a cancel or a lack of memory.
 */
extern TSVector atlas_make_document(const AtlasDocumentSource *event);

#endif							/* ATLAS_DOCUMENT_H */
