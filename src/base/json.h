/*
 * json.h
 *		jansson, and what is needed to use it inside a server.
 *
 * PostgreSQL has functions named json_object and json_typeof as well. The
 * server's json_object would be called in place of jansson's, so it must not be
 * called at all: atlas_json_object() makes an object.
 */
#ifndef ATLAS_JSON_H
#define ATLAS_JSON_H

#include "utils/fmgrprotos.h"

#define json_object json_object_of_jansson
#include <jansson.h>
#undef json_object

/* A new, empty JSON object. */
extern json_t *atlas_json_object(void);

/* A string of the server's encoding as a JSON string. */
extern json_t *atlas_json_string(const char *string);

/*
 * JSON as text of the server's encoding, palloc'd. Frees the JSON, also when
 * it raises an error. jansson returns a null pointer when it is out of memory;
 * a null pointer raises that error here.
 */
extern char *atlas_json_to_string(json_t *json);

#endif							/* ATLAS_JSON_H */
