/*
 * visible.h
 *		May people see this as the name, or as the icon, of an event?
 */
#ifndef ATLAS_VISIBLE_H
#define ATLAS_VISIBLE_H

#define ATLAS_MAX_URL_LENGTH 2048	/* characters of an icon that is a URL */
#define ATLAS_MAX_CLUSTER_LENGTH 32 /* code points of an icon that is a character */

/* Is this an absolute http(s) URL of RFC 3986, and not too long? */
extern bool atlas_is_url(const char *string, Size length);

/* Is this UTF-8 one visible grapheme cluster, and not too long? */
extern bool atlas_is_visible_character(const char *utf8, Size length);

/* What is wrong with a name in UTF-8, and a word for programs. NULL if nothing is. */
extern const char *atlas_problem_of_name(const char *utf8, Size length, const char **code);

#endif							/* ATLAS_VISIBLE_H */
