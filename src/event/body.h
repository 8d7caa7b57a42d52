/*
 * body.h
 *		A request body, or an event in it: its encoding, and places for people.
 */
#ifndef ATLAS_BODY_H
#define ATLAS_BODY_H

#include "event/error.h"

/* A place in a request body, for people. */
typedef struct AtlasPlace
{
	int			line;			/* from 1 */
	int			column;			/* characters before it */
} AtlasPlace;

/* How far lines and columns have been counted, so that they are counted once. */
typedef struct AtlasCounted
{
	const char *source;
	AtlasPlace	place;
} AtlasCounted;

/* A request body, or an event in it. */
typedef struct AtlasBody
{
	const char *source;			/* where it begins, in the server's encoding */
	const char *json;			/* in UTF-8; NULL if it cannot be that */
	Size		length;			/* of json */
	AtlasCounted *counted;		/* to its beginning at most */
} AtlasBody;

/* Returns where a body begins after its byte order mark, if it has one, and shortens it. */
extern const char *atlas_skip_byte_order_mark(const char *json, Size *length);

/* A part of a request body as UTF-8. In SQL_ASCII the bytes are taken as they are. */
extern AtlasBody atlas_body(const char *source, Size length, AtlasCounted *counted);

/*
 * Returns "line 2, column 5" for a position in the UTF-8 of a body, palloc'd. The caller
 * asks for the parts of a body in their order.
 */
extern char *atlas_place_in(const AtlasBody *body, int64 position);

/* Adds a problem: what jansson says, with line and column in the original body. */
extern void atlas_report_malformed(AtlasError *error, const AtlasBody *body,
								   const json_error_t *parse_error);

#endif							/* ATLAS_BODY_H */
