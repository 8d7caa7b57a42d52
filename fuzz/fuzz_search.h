/*
 * fuzz_search.h
 *		The part of the fuzz target that searches.
 */
#ifndef ATLAS_FUZZ_SEARCH_H
#define ATLAS_FUZZ_SEARCH_H

#include "c.h"

/* Inputs that begin with this are a query, and in the next line a text to be searched. */
#define ATLAS_FUZZ_SEARCH '?'

/* Makes a document of the text, parses the query, and compares the two. */
extern void atlas_fuzz_search(const char *input, Size size);

#endif							/* ATLAS_FUZZ_SEARCH_H */
