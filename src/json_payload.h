/*
 * json_payload.h
 *		Takes a request body apart before it is parsed: the events of an array,
 *		and the payload of an event.
 */
#ifndef ATLAS_JSON_PAYLOAD_H
#define ATLAS_JSON_PAYLOAD_H

/* A part of the request body; of no length when there is none. */
typedef struct AtlasSpan
{
	Size		start;
	Size		length;
} AtlasSpan;

/*
 * A body with the number 0 in place of some values. In one that keeps the places the
 * 0 is followed by blanks and line breaks, so that all the rest is where it was: for
 * messages, as the blanks take time to parse.
 */
typedef struct AtlasSkeleton
{
	char	   *json;
	Size		length;
} AtlasSkeleton;

/*
 * Copies an event without its payload, whose place in the event is returned.
 * Malformed JSON is left for the real parser to complain about.
 */
extern AtlasSkeleton atlas_cut_payload(const char *json, Size length, bool keeps_places,
									   AtlasSpan *payload);

/*
 * Finds the first items of an array, up to a limit, counts them all, and copies it
 * without them. The copy is an array of as many zeros if and only if the body is an
 * array, whatever the items are.
 */
extern AtlasSkeleton atlas_split_array(const char *json, Size length, bool keeps_places,
									   int limit, AtlasSpan **items, int *nitems);

#endif							/* ATLAS_JSON_PAYLOAD_H */
