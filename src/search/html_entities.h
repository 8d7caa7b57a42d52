/*
 * html_entities.h
 *		The characters that HTML 4 and XHTML give a name.
 */
#ifndef ATLAS_HTML_ENTITIES_H
#define ATLAS_HTML_ENTITIES_H

#include "c.h"

/* The character of a name, which stands without & and semicolon. 0 if there is none. */
extern int32 atlas_html_entity(const char *name, int length);

#endif							/* ATLAS_HTML_ENTITIES_H */
