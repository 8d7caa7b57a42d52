/*
 * path_place.h
 *		A place in an SQL/JSON path, in words for people.
 */
#ifndef ATLAS_PATH_PLACE_H
#define ATLAS_PATH_PLACE_H

#include "utils/jsonpath.h"

#define ATLAS_MAX_PLACE 200		/* bytes; what is longer loses its beginning */

/*
 * What a chain of items has before one of them, such as $.payload.items[*], palloc'd; with NULL
 * the whole chain. Arguments of its items are left out.
 */
extern char *atlas_path_place(JsonPathItem *first, const JsonPathItem *item);

#endif							/* ATLAS_PATH_PLACE_H */
