/*
 * html_text.h
 *		The text of a description that may be HTML.
 */
#ifndef ATLAS_HTML_TEXT_H
#define ATLAS_HTML_TEXT_H

#include "c.h"

/*
 * The text without tags, comments, scripts and styles, with entities decoded, palloc'd,
 * in the encoding of the server. A tag is a blank, and those that touch are one. What is
 * not HTML stays as it is: "a < b" is text. Any input is accepted. The text is not longer
 * than what it comes from.
 */
extern char *atlas_html_text(const char *html, int length, int *text_length);

#endif							/* ATLAS_HTML_TEXT_H */
