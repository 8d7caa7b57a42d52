/*
 * headline_text.h
 *		The texts of an event of which a headline is a piece.
 */
#ifndef ATLAS_HEADLINE_TEXT_H
#define ATLAS_HEADLINE_TEXT_H

#include "postgres.h"

#include "search/document.h"

/* A part of a text that words are looked for in: from this byte to before that one. */
typedef struct AtlasHeadlinePart
{
	int			start;
	int			end;
} AtlasHeadlinePart;

typedef struct AtlasHeadlineText
{
	const char *text;
	int			length;
	AtlasHeadlinePart *parts;
	int			nparts;
} AtlasHeadlineText;

/* Which texts have been given. */
typedef struct AtlasHeadlineTexts
{
	const AtlasDocumentSource *event;
	int			next;
	int			bytes_left;		/* of atlas_events.search_text_limit */
} AtlasHeadlineTexts;

extern void atlas_headline_texts_begin(AtlasHeadlineTexts *texts, const AtlasDocumentSource *event);

/*
 * The next text: the name, the description without its tags, the payload as "key: value, key: value", where
 * keys are no part. Returns false when there are no more. The text is in the current memory context.
 */
extern bool atlas_headline_texts_next(AtlasHeadlineTexts *texts, AtlasHeadlineText *text);

#endif							/* ATLAS_HEADLINE_TEXT_H */
