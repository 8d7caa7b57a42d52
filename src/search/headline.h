/*
 * headline.h
 *		A piece of an event's text with the words of a query marked.
 */
#ifndef ATLAS_HEADLINE_H
#define ATLAS_HEADLINE_H

#include "search/document.h"
#include "search/query.h"

/*
 * About 200 characters of the first of name, description and values of the payload that has most of the marked words,
 * as HTML: everything is escaped but the tags <mark> and </mark>. NULL if there is nothing to be marked.
 */
extern text *atlas_headline(const AtlasDocumentSource *event, const AtlasSearchQuery *query);

#endif							/* ATLAS_HEADLINE_H */
